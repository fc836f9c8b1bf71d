// Gets a URL with fetch. Node reads HTTPS_PROXY itself from 24 on, with NODE_USE_ENV_PROXY=1;
// before that it is undici, its own fetch as a package, that does.
const own = process.env.UNDICI;
let get = fetch;
if (own) {
  const { EnvHttpProxyAgent, setGlobalDispatcher, fetch: theirs } = (await import(own)).default;
  setGlobalDispatcher(new EnvHttpProxyAgent());
  get = theirs;
}
try {
  const answer = await get(process.argv[2]);
  console.log(answer.status, await answer.text());
  process.exitCode = answer.status === 200 ? 0 : 1;
} catch (error) {
  for (let cause = error; cause; cause = cause.cause) console.log(String(cause));
  process.exitCode = 1;
}
