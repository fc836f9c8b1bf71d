// Sets WordPress up, writes, uploads, comments, searches, changes settings, and then opens every
// page of its administration that it links to.
//
//   node wordpress.js http://ADDRESS FOLDER
'use strict';

const fs = require('fs');
const path = require('path');
const puppeteer = require('puppeteer-core');

const [site, folder] = process.argv.slice(2);
const PASSWORD = 'Tr0ub4dor&3 "x" \'y\' <z>';
const TEXTS = [
  "It's a dog's life; isn't it? \"Yes\" & no -- 50% of the time.",
  'Try SELECT name FROM users WHERE id = 1 or select a union rep.',
  'Run npm install && npm test, then cat the file; see /var/log/app.log.',
  'if (a < b && c > d) { console.log("x"); } // done',
];

/** Does something that may not be there on this version; says what was left out. */
async function attempt(what, doing) {
  try {
    await doing();
    console.log(`done: ${what}`);
  } catch (error) {
    console.log(`left out: ${what}: ${String(error).split('\n')[0]}`);
  }
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

async function open(page, where) {
  await page.goto(new URL(where, site).href, { waitUntil: 'load', timeout: 60000 });
}

/** Fills fields and submits. */
async function submit(page, fields, button) {
  for (const [selector, value] of Object.entries(fields)) {
    await page.waitForSelector(selector, { timeout: 15000 });
    await page.$eval(selector, (field, text) => { field.value = text; }, value);
  }
  await Promise.all([page.waitForNavigation({ timeout: 60000 }), page.$eval(button, (it) => it.click())]);
}

async function write(page, text) {
  await open(page, '/wp-admin/post-new.php');
  await pause(3000);
  await page.keyboard.press('Escape');
  await page.waitForSelector('.editor-post-title__input', { timeout: 20000 });
  await page.click('.editor-post-title__input');
  await page.keyboard.type(text.slice(0, 40));
  await page.keyboard.press('Enter');
  await page.keyboard.type(text);
  await page.keyboard.press('Enter');
  await page.keyboard.type('> a quotation; or ');
  await page.keyboard.press('Enter');
  await page.keyboard.type('```');
  await page.keyboard.press('Enter');
  await page.keyboard.type('let x = a <b> ? "c" : \'d\';');
  await pause(1000);
  await page.click('.editor-post-publish-panel__toggle, .editor-post-publish-button');
  await pause(1500);
  await page.click('.editor-post-publish-panel .editor-post-publish-button');
  await page.waitForSelector('.post-publish-panel__postpublish, .components-snackbar', { timeout: 20000 });
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    // Without the last, Chromium tries TLS on the port of plain HTTP now and then.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
      '--disable-features=HttpsUpgrades,HttpsFirstBalancedMode,HttpsFirstBalancedModeAutoEnable'],
    userDataDir: path.join(folder, 'profile'),
  });
  const page = await browser.newPage();
  page.on('dialog', (dialog) => dialog.accept().catch(() => {}));
  await page.setViewport({ width: 1280, height: 900 });

  await open(page, '/wp-admin/install.php');
  await attempt('language', () => submit(page, {}, '#language-continue'));
  await attempt('set-up', () => submit(page, {
    '#weblog_title': "Anna & Bob's \"blog\"; news",
    '#user_login': 'anna',
    '#pass1': PASSWORD,
    '#admin_email': "anna.o'neil@example.com",
  }, '#submit'));
  await open(page, '/wp-login.php');
  await attempt('log-in', () => submit(page, { '#user_login': 'anna', '#user_pass': PASSWORD }, '#wp-submit'));
  await open(page, '/wp-admin/');
  for (const text of TEXTS) await attempt(`post: ${text.slice(0, 20)}`, () => write(page, text));
  await attempt('quick draft', async () => {
    await open(page, '/wp-admin/');
    await page.type('#title', "A draft's title");
    await page.type('#content', TEXTS.join('\n'));
    await page.click('#save-post');
    await pause(1500);
  });
  await attempt('general settings', async () => {
    await open(page, '/wp-admin/options-general.php');
    await submit(page, { '#blogdescription': "Just another blog -- or isn't it?", '#date_format_custom': 'F j, Y \\a\\t g:i' }, '#submit');
  });
  await attempt('discussion settings', async () => {
    await open(page, '/wp-admin/options-discussion.php');
    await submit(page, { '#moderation_keys': "casino\npoker; viagra\n'or'" }, '#submit');
  });
  await attempt('permalinks', async () => {
    await open(page, '/wp-admin/options-permalink.php');
    await submit(page, { '#permalink_structure': '/%year%/%monthnum%/%postname%/' }, '#submit');
  });
  await attempt('a picture', async () => {
    const file = path.join(folder, "Anna's picture (1).png");
    fs.writeFileSync(file, Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64'));
    await open(page, '/wp-admin/media-new.php?browser-uploader');
    const input = await page.$('#async-upload');
    await input.uploadFile(file);
    await Promise.all([page.waitForNavigation({ timeout: 60000 }), page.click('#html-upload')]);
  });
  await attempt('a user', async () => {
    await open(page, '/wp-admin/user-new.php');
    await submit(page, {
      '#user_login': 'bob', '#email': 'bob+test@example.com', '#first_name': 'Bob', '#last_name': "D'Angelo",
      '#url': 'https://example.com/~bob?a=b&c=d',
    }, '#createusersub');
  });
  await attempt('a profile', async () => {
    await open(page, '/wp-admin/profile.php');
    await submit(page, { '#description': TEXTS.join('\n\n'), '#first_name': 'Anna', '#last_name': "O'Neil" }, '#submit');
  });
  await attempt('a category', async () => {
    await open(page, '/wp-admin/edit-tags.php?taxonomy=category');
    await page.type('#tag-name', "R&D; tips 'n' tricks");
    await page.type('#tag-description', TEXTS[1]);
    await page.click('#submit');
    await pause(1500);
  });
  await attempt('a style sheet', async () => {
    await open(page, '/wp-admin/customize.php');
    await pause(3000);
  });
  await attempt('site editor', async () => {
    await open(page, '/wp-admin/site-editor.php');
    await pause(6000);
  });
  for (const text of TEXTS) {
    await attempt(`comment: ${text.slice(0, 20)}`, async () => {
      await open(page, '/?p=1');
      await submit(page, { '#comment': text }, '#submit');
    });
    await attempt(`search: ${text.slice(0, 20)}`, async () => {
      await open(page, '/?s=' + encodeURIComponent(text));
      await open(page, '/wp-admin/edit.php?s=' + encodeURIComponent(text) + '&post_status=all&post_type=post');
    });
  }
  await crawl(page);
  await browser.close();
}

/** Opens each page that is linked to, and uses what is on it. */
async function crawl(page) {
  const seen = new Set();
  const queue = ['/wp-admin/', '/'];
  const end = Date.now() + 240000;
  while (queue.length > 0 && seen.size < 150 && Date.now() < end) {
    const next = queue.shift();
    if (seen.has(next)) continue;
    seen.add(next);
    await attempt(next, async () => {
      await open(page, next);
      const links = await page.$$eval('a[href]', (all) => all.map((link) => link.href));
      for (const link of links) {
        const url = new URL(link);
        url.hash = '';
        const short = url.pathname + url.search;
        if (url.origin === new URL(site).origin && !/logout|delete|trash|action=(?:deactivate|spam)|export=|update-core/.test(short)) {
          if (!seen.has(short)) queue.push(short);
        }
      }
      const search = await page.$('input[type=search]');
      if (search) {
        await search.type("dog's & \"cat\"");
        await search.press('Enter');
        await pause(700);
      }
    });
  }
  console.log(`${seen.size} pages opened`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
