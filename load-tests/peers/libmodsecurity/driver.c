/*
 * Runs a workload through libmodsecurity and tells the CPU time of each scenario.
 *
 *     driver RULES WORKLOAD SECONDS
 *
 * The workload's format is that of load-tests/src/waf/workload.rs; the answer is a line
 * of JSON for each scenario. Linked against the shared library at the time of a
 * comparison: these are the functions of its C interface that are used.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct ModSecurity ModSecurity;
typedef struct RulesSet RulesSet;
typedef struct Transaction Transaction;
typedef struct {
    int status;
    int pause;
    char *url;
    char *log;
    int disruptive;
} Intervention;

ModSecurity *msc_init(void);
void msc_set_log_cb(ModSecurity *, void (*)(void *, const void *));
RulesSet *msc_create_rules_set(void);
int msc_rules_add_file(RulesSet *, const char *, const char **);
Transaction *msc_new_transaction(ModSecurity *, RulesSet *, void *);
int msc_process_connection(Transaction *, const char *, int, const char *, int);
int msc_process_uri(Transaction *, const char *, const char *, const char *);
int msc_add_n_request_header(Transaction *, const unsigned char *, size_t,
                             const unsigned char *, size_t);
int msc_process_request_headers(Transaction *);
int msc_append_request_body(Transaction *, const unsigned char *, size_t);
int msc_process_request_body(Transaction *);
int msc_add_n_response_header(Transaction *, const unsigned char *, size_t,
                              const unsigned char *, size_t);
int msc_process_response_headers(Transaction *, int, const char *);
int msc_process_response_body(Transaction *);
int msc_process_logging(Transaction *);
int msc_intervention(Transaction *, Intervention *);
void msc_transaction_cleanup(Transaction *);

typedef struct {
    char *name, *value;
} Header;

typedef struct {
    char *method, *uri, *version;
    Header *headers;
    int header_count;
    unsigned char *body;
    size_t body_length;
} Request;

static void die(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) die("out of memory");
    return memory;
}

static char *line(FILE *file) {
    char *text = NULL;
    size_t room = 0;
    ssize_t length = getline(&text, &room, file);
    if (length < 0) {
        free(text);
        return NULL;
    }
    if (length > 0 && text[length - 1] == '\n') text[length - 1] = 0;
    return text;
}

static void read_request(FILE *file, Request *request) {
    char *head = line(file);
    if (!head || strncmp(head, "request ", 8)) die("a request is expected");
    request->method = strtok(head + 8, " ");
    request->version = strtok(NULL, " ");
    char *headers = strtok(NULL, " ");
    char *body = strtok(NULL, " ");
    request->uri = line(file);
    if (!request->method || !request->version || !headers || !body || !request->uri)
        die("a request is cut");
    request->header_count = atoi(headers);
    request->headers = allocate(sizeof(Header) * request->header_count);
    for (int i = 0; i < request->header_count; i++) {
        char *field = line(file);
        char *colon = field ? strstr(field, ": ") : NULL;
        if (!colon) die("a header is cut");
        *colon = 0;
        request->headers[i] = (Header){field, colon + 2};
    }
    request->body_length = strtoul(body, NULL, 10);
    request->body = allocate(request->body_length);
    if (fread(request->body, 1, request->body_length, file) != request->body_length)
        die("a body is cut");
    if (fgetc(file) != '\n') die("a body has no end");
}

static int interrupted(Transaction *transaction) {
    Intervention found = {200, 0, NULL, NULL, 0};
    msc_intervention(transaction, &found);
    free(found.url);
    free(found.log);
    return found.disruptive != 0;
}

/* One request through all phases, or as far as it gets. */
static int serve(ModSecurity *engine, RulesSet *rules, const Request *request) {
    static const unsigned char type[] = "Content-Type", text[] = "text/plain";
    Transaction *transaction = msc_new_transaction(engine, rules, NULL);
    int stopped = 0;
    msc_process_connection(transaction, "192.0.2.7", 40000, "127.0.0.1", 80);
    msc_process_uri(transaction, request->uri, request->method, request->version + 5);
    for (int i = 0; i < request->header_count; i++) {
        const Header *header = &request->headers[i];
        msc_add_n_request_header(transaction, (unsigned char *)header->name,
                                 strlen(header->name), (unsigned char *)header->value,
                                 strlen(header->value));
    }
    msc_process_request_headers(transaction);
    stopped = interrupted(transaction);
    if (!stopped) {
        if (request->body_length)
            msc_append_request_body(transaction, request->body, request->body_length);
        msc_process_request_body(transaction);
        stopped = interrupted(transaction);
    }
    if (!stopped) {
        msc_add_n_response_header(transaction, type, sizeof type - 1, text, sizeof text - 1);
        msc_process_response_headers(transaction, 200, "HTTP/1.1");
        msc_process_response_body(transaction);
        stopped = interrupted(transaction);
    }
    msc_process_logging(transaction);
    msc_transaction_cleanup(transaction);
    return stopped;
}

static double cpu(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void no_log(void *data, const void *message) {
    (void)data;
    (void)message;
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: driver RULES WORKLOAD SECONDS");
    double seconds = atof(argv[3]), before = cpu();
    ModSecurity *engine = msc_init();
    msc_set_log_cb(engine, no_log);
    RulesSet *rules = msc_create_rules_set();
    const char *error = NULL;
    if (msc_rules_add_file(rules, argv[1], &error) < 0) die(error ? error : "no rules");
    double load = cpu() - before;
    FILE *file = fopen(argv[2], "rb");
    if (!file) die("the workload cannot be opened");
    char *head;
    while ((head = line(file))) {
        if (strncmp(head, "scenario ", 9)) die("a scenario is expected");
        char *name = strtok(head + 9, " ");
        char *number = strtok(NULL, " ");
        int count = number ? atoi(number) : 0;
        if (count < 1) die("a scenario without requests");
        Request *requests = allocate(sizeof(Request) * count);
        for (int i = 0; i < count; i++) read_request(file, &requests[i]);
        long stopped = 0, served = 0;
        for (int i = 0; i < count; i++) stopped += serve(engine, rules, &requests[i]);
        double began = cpu(), spent;
        do {
            for (int i = 0; i < count; i++) serve(engine, rules, &requests[i]);
            served += count;
            spent = cpu() - began;
        } while (spent < seconds);
        printf("{\"scenario\":\"%s\",\"requests\":%ld,\"cpu_seconds\":%.9f,"
               "\"stopped\":%ld,\"of\":%d,\"load_seconds\":%.6f}\n",
               name, served, spent, stopped, count, load);
        fflush(stdout);
        free(head);
    }
    return 0;
}
