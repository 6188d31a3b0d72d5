// The least HTTP server that produces events to Kafka: what Sluice's ingress is compared with.
//
//   ingress PORT BROKERS LOOPS LINGER_MS REQUESTS_IN_FLIGHT
//
// POST /send takes one event as JSON, or one a line as application/x-ndjson, produces to the topic `messages`, and answers when Kafka has
// acknowledged everything: 200, or 400 if anything was refused. POST /bare reads the body and answers at once. Each of LOOPS threads
// listens on the port and owns its connections. There are no limits, no authorization, no metrics, no shutdown.

#include <librdkafka/rdkafka.h>
#include <microhttpd.h>
#include <simdjson.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

[[noreturn]] static void fail(const char *what, const char *why) {
  fprintf(stderr, "ingress: %s: %s\n", what, why);
  _exit(1);
}

class Loop;

/// One request. Libmicrohttpd calls the handler on the loop's thread; delivery reports come on another.
struct Request {
  enum class Kind { bare, event, lines };

  Request(MHD_Connection *connection, Loop &loop, Kind kind) : connection(connection), loop(loop), kind(kind) {}

  MHD_Connection *const connection;
  Loop &loop;
  const Kind kind;
  std::string body;
  bool isRead = false;
  /// Records without a delivery report, and one more until the body is read.
  std::atomic<int> pending{1};
  std::atomic<bool> hasFailed{false};
  /// The next in the loop's list of finished requests.
  Request *next = nullptr;

  void produce(std::string_view event, size_t capacity);
  /// Returns true to the caller that has settled the last of `pending`.
  bool settle() { return pending.fetch_sub(1) == 1; }
};

/// What all loops share.
static struct {
  rd_kafka_t *client;
  rd_kafka_topic_t *topic;
  MHD_Response *accepted, *refused, *unknown;
} shared;

/// One thread with its listening socket, its connections and their answers.
class Loop {
 public:
  simdjson::ondemand::parser parser;

  explicit Loop(uint16_t port) : wakeUp(eventfd(0, EFD_NONBLOCK)) {
    // A larger pool for each connection halves the rate: the library clears it for every request.
    const size_t poolBytes = 16384;
    daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, port, nullptr, nullptr, handle, this,
                              MHD_OPTION_NOTIFY_COMPLETED, completed, nullptr, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
                              MHD_OPTION_CONNECTION_LIMIT, 4096u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, poolBytes,
                              MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_END);
    if (!daemon) fail("listen", "the port is taken");
  }

  void run() {
    const int poll = epoll_create1(0);
    watch(poll, MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    watch(poll, wakeUp);
    for (;;) {
      MHD_UNSIGNED_LONG_LONG limit;
      const bool isLimited = MHD_get_timeout(daemon, &limit) == MHD_YES && limit < 100;
      epoll_event events[2];
      const int count = epoll_wait(poll, events, 2, isLimited ? int(limit) : 100);
      for (int index = 0; index < count; index++)
        if (events[index].data.fd == wakeUp) clearWakeUp();
      for (Request *request = finished.exchange(nullptr); request;) {
        Request *following = request->next;
        MHD_resume_connection(request->connection);
        request = following;
      }
      MHD_run(daemon);
    }
  }

  /// Lets the loop answer `request`. Any thread.
  void finish(Request *request) {
    request->next = finished.load();
    while (!finished.compare_exchange_weak(request->next, request)) {}
    const uint64_t one = 1;
    // Only the first of a list needs to wake the loop, which takes all of it. The counter cannot overflow.
    if (!request->next && write(wakeUp, &one, sizeof one) < 0) fail("wake up", strerror(errno));
  }

 private:
  static void watch(int poll, int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
  }

  void clearWakeUp() {
    uint64_t value;
    if (read(wakeUp, &value, sizeof value) < 0 && errno != EAGAIN) fail("wake up", strerror(errno));
  }

  /// Called at the header, with each piece of the body, and at its end; then again when the connection is resumed.
  static MHD_Result handle(void *self, MHD_Connection *connection, const char *path, const char *method, const char *, const char *piece,
                           size_t *size, void **context) {
    auto *request = static_cast<Request *>(*context);
    if (!request) {
      const bool isBare = strcmp(path, "/bare") == 0;
      if (strcmp(method, "POST") != 0 || (!isBare && strcmp(path, "/send") != 0))
        return MHD_queue_response(connection, 404, shared.unknown);
      const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
      const bool isLines = type && strncmp(type, "application/x-ndjson", 20) == 0;
      *context = new Request(connection, *static_cast<Loop *>(self),
                             isBare ? Request::Kind::bare : isLines ? Request::Kind::lines : Request::Kind::event);
      return MHD_YES;
    }
    if (*size > 0) {
      request->body.append(piece, *size);
      *size = 0;
      if (request->kind == Request::Kind::lines) produceLines(*request);
      return MHD_YES;
    }
    if (request->kind != Request::Kind::bare && !request->isRead) {
      request->isRead = true;
      MHD_suspend_connection(connection);
      if (!request->body.empty() || request->kind == Request::Kind::event) {
        request->body.reserve(request->body.size() + simdjson::SIMDJSON_PADDING);
        request->produce(request->body, request->body.capacity());
      }
      if (request->settle()) MHD_resume_connection(connection);
      return MHD_YES;
    }
    return request->hasFailed ? MHD_queue_response(connection, 400, shared.refused)
                              : MHD_queue_response(connection, 200, shared.accepted);
  }

  /// Produces the lines that are complete.
  static void produceLines(Request &request) {
    std::string &body = request.body;
    body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
    size_t start = 0;
    for (size_t end; (end = body.find('\n', start)) != std::string::npos; start = end + 1)
      request.produce(std::string_view(body).substr(start, end - start), body.capacity() - start);
    body.erase(0, start);
  }

  static void completed(void *, MHD_Connection *, void **context, MHD_RequestTerminationCode) {
    delete static_cast<Request *>(*context);
    *context = nullptr;
  }

  MHD_Daemon *daemon;
  const int wakeUp;
  std::atomic<Request *> finished{nullptr};
};

/// Whether a document is an event; sets its key.
static bool isEvent(simdjson::ondemand::parser &parser, std::string_view text, size_t capacity, int64_t &key) {
  simdjson::ondemand::document document;
  simdjson::ondemand::object event, data;
  std::string_view value;
  if (parser.iterate(text.data(), text.size(), capacity).get(document) || document.get_object().get(event)) return false;
  if (event["action"].get_string().get(value) || event["message_id"].get_int64().get(key)) return false;
  // A Delete has no data.
  if (event["data"].get_object().get(data)) return true;
  return !data["name"].get_string().get(value) && !data["message"].get_string().get(value);
}

/// Hands an event to librdkafka.
/// - capacity: readable bytes from the start of `event`, with simdjson's padding.
void Request::produce(std::string_view event, size_t capacity) {
  int64_t id;
  if (!isEvent(loop.parser, event, capacity, id)) {
    hasFailed = true;
    return;
  }
  char key[24];
  const int keySize = snprintf(key, sizeof key, "%lld", static_cast<long long>(id));
  pending++;
  // The body keeps its const characters: RD_KAFKA_MSG_F_COPY.
  if (rd_kafka_produce(shared.topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, const_cast<char *>(event.data()), event.size(), key,
                       size_t(keySize), this) != 0) {
    hasFailed = true;
    // Not the last: the body is not read to its end.
    settle();
  }
}

static void delivered(rd_kafka_t *, const rd_kafka_message_t *message, void *) {
  auto *request = static_cast<Request *>(message->_private);
  if (message->err) request->hasFailed = true;
  if (request->settle()) request->loop.finish(request);
}

static void startProducer(const char *brokers, const char *linger, const char *inFlight) {
  char error[512];
  rd_kafka_conf_t *configuration = rd_kafka_conf_new();
  const std::pair<const char *, const char *> properties[] = {
      {"bootstrap.servers", brokers}, {"enable.idempotence", "true"}, {"acks", "all"},
      {"linger.ms", linger},          {"max.in.flight", inFlight},    {"socket.nagle.disable", "true"},
  };
  for (auto &[key, value] : properties)
    if (rd_kafka_conf_set(configuration, key, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(key, error);
  rd_kafka_conf_set_dr_msg_cb(configuration, delivered);
  shared.client = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, error, sizeof error);
  if (!shared.client) fail("producer", error);
  shared.topic = rd_kafka_topic_new(shared.client, "messages", nullptr);
}

static MHD_Response *response(const char *text) {
  MHD_Response *response = MHD_create_response_from_buffer(strlen(text), const_cast<char *>(text), MHD_RESPMEM_PERSISTENT);
  MHD_add_response_header(response, "Content-Type", "text/plain");
  return response;
}

int main(int count, char **arguments) {
  if (count != 6) fail("usage", "ingress PORT BROKERS LOOPS LINGER_MS REQUESTS_IN_FLIGHT");
  startProducer(arguments[2], arguments[4], arguments[5]);
  shared.accepted = response("Message sent!");
  shared.refused = response("Not an event, or not written.");
  shared.unknown = response("POST /send or /bare.");
  std::vector<std::unique_ptr<Loop>> loops;
  for (int index = 0; index < atoi(arguments[3]); index++) loops.push_back(std::make_unique<Loop>(uint16_t(atoi(arguments[1]))));
  for (auto &loop : loops) std::thread(&Loop::run, loop.get()).detach();
  for (;;) rd_kafka_poll(shared.client, 100);
}
