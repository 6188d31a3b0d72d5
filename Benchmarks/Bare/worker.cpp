// The least program that moves a topic into the table with offsets in the same transactions: what Sluice's worker is compared with.
//
//   worker BROKERS TOPIC PARTITIONS CONNINFO LANES BATCH TOTAL
//
// Each of LANES threads has one connection and every LANES-th partition. It takes up to BATCH records from the partitions' queues, keeps
// the last event of each key, and writes them with one statement, which also advances the offset. There is no consumer group, no bound on
// memory, no dead letter, no metric. The program ends when TOTAL records are written, and prints rows/s and processor time.
//
// Environment: QMIN, QKB: librdkafka's queued.min.messages and queued.max.messages.kbytes; KICK: milliseconds between two requests that
// wake librdkafka's fetcher, which otherwise sleeps for up to a second after all queues were full.

#include <librdkafka/rdkafka.h>
#include <libpq-fe.h>
#include <simdjson.h>
#include <arpa/inet.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using Clock = std::chrono::steady_clock;

[[noreturn]] static void fail(const char *what, const char *why) {
  fprintf(stderr, "worker: %s: %s\n", what, why);
  _exit(1);
}

static const char *environment(const char *name, const char *fallback) {
  const char *value = getenv(name);
  return value ? value : fallback;
}

/// The consumer: all partitions assigned from their first record, each with a queue of its own.
class Topic {
 public:
  Topic(const char *brokers, const char *name, int partitions) : name(name) {
    char error[512];
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    const std::pair<const char *, const char *> properties[] = {
        {"bootstrap.servers", brokers},
        {"group.id", "bare-worker"},
        {"enable.auto.commit", "false"},
        {"auto.offset.reset", "earliest"},
        {"fetch.wait.max.ms", "50"},
        {"queued.min.messages", environment("QMIN", "20000")},
        {"queued.max.messages.kbytes", environment("QKB", "8192")},
    };
    for (auto &[key, value] : properties)
      if (rd_kafka_conf_set(configuration, key, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(key, error);
    client = rd_kafka_new(RD_KAFKA_CONSUMER, configuration, error, sizeof error);
    if (!client) fail("consumer", error);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int partition = 0; partition < partitions; partition++) {
      rd_kafka_topic_partition_list_add(list, name, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
      queues.push_back(rd_kafka_queue_get_partition(client, name, partition));
      rd_kafka_queue_forward(queues.back(), nullptr);
    }
    if (auto code = rd_kafka_assign(client, list)) fail("assign", rd_kafka_err2str(code));
    rd_kafka_topic_partition_list_destroy(list);
  }

  rd_kafka_queue_t *queue(int partition) const { return queues[partition]; }

  /// Serves the main queue, which carries errors only.
  void poll() {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
    if (!message) return;
    if (message->err) fprintf(stderr, "worker: %s\n", rd_kafka_message_errstr(message));
    rd_kafka_message_destroy(message);
  }

  /// Asks for an end offset: any request ends the sleep of the broker's thread, which also fetches.
  void wakeFetcher() {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, 0)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_offsets_for_times(client, list, 1000);
    rd_kafka_topic_partition_list_destroy(list);
  }

 private:
  const char *name;
  rd_kafka_t *client;
  std::vector<rd_kafka_queue_t *> queues;
};

/// Builds a one-dimensional array in PostgreSQL's binary format.
class BinaryArray {
 public:
  void start(uint32_t elementType, size_t count) {
    bytes.clear();
    // Dimensions, no null flag, type, length, lower bound.
    for (uint32_t word : {uint32_t(1), uint32_t(0), elementType, uint32_t(count), uint32_t(1)}) put(word);
  }
  void add(int32_t value) {
    put(sizeof value);
    put(uint32_t(value));
  }
  void add(std::string_view text) {
    put(uint32_t(text.size()));
    bytes.append(text);
  }
  const char *data() const { return bytes.data(); }
  int size() const { return int(bytes.size()); }

 private:
  void put(uint32_t word) {
    word = htonl(word);
    bytes.append(reinterpret_cast<const char *>(&word), sizeof word);
  }
  std::string bytes;
};

/// The events of one transaction.
class Batch {
 public:
  size_t records() const { return received; }

  void clear() {
    rows.clear();
    text.clear();
    received = 0;
  }

  /// Parses an event; its texts are copied. Ends the program if it is no Create, Update or Upsert.
  void add(const void *payload, size_t size) try {
    if (document.size() < size + simdjson::SIMDJSON_PADDING) document.resize(2 * size + simdjson::SIMDJSON_PADDING);
    memcpy(&document[0], payload, size);
    auto event = parser.iterate(document.data(), size, document.size());
    // Fields are read in the order of the text.
    if (std::string_view(event["action"]).empty()) fail("event", "it has no action");
    Row row;
    row.key = int32_t(int64_t(event["message_id"]));
    auto data = event["data"];
    row.start = uint32_t(text.size());
    row.nameSize = put(data["name"]);
    row.messageSize = put(data["message"]);
    rows.push_back(row);
    received++;
  } catch (const simdjson::simdjson_error &error) {
    fail("event", error.what());
  }

  /// Writes the last event of each key into three arrays, in the order of the keys.
  void fill(BinaryArray &keys, BinaryArray &names, BinaryArray &messages) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) { return a.key < b.key; });
    size_t kept = 0;
    for (size_t index = 0; index < rows.size(); index++) {
      if (kept > 0 && rows[kept - 1].key == rows[index].key) kept--;
      rows[kept++] = rows[index];
    }
    rows.resize(kept);
    keys.start(23, kept);  // int4
    names.start(25, kept);  // text
    messages.start(25, kept);
    for (const Row &row : rows) {
      keys.add(row.key);
      names.add(std::string_view(text).substr(row.start, row.nameSize));
      messages.add(std::string_view(text).substr(row.start + row.nameSize, row.messageSize));
    }
  }

 private:
  struct Row {
    int32_t key;
    uint32_t start, nameSize, messageSize;
  };

  uint32_t put(std::string_view piece) {
    text.append(piece);
    return uint32_t(piece.size());
  }

  simdjson::ondemand::parser parser;
  std::string document, text;
  std::vector<Row> rows;
  size_t received = 0;
};

/// One connection, which writes batches.
class Database {
 public:
  explicit Database(const char *conninfo) : connection(PQconnectdb(conninfo)) {
    if (PQstatus(connection) != CONNECTION_OK) fail("connect", PQerrorMessage(connection));
  }
  ~Database() { PQfinish(connection); }

  void makeOffsets(int lanes) {
    check("offsets", PQexec(connection, "SET client_min_messages = warning"));
    check("offsets", PQexec(connection, "CREATE TABLE IF NOT EXISTS bare_offsets (lane int PRIMARY KEY, records bigint NOT NULL)"));
    check("offsets", PQexec(connection, "TRUNCATE bare_offsets"));
    const std::string rows = "INSERT INTO bare_offsets SELECT lane, 0 FROM generate_series(0, " + std::to_string(lanes - 1) + ") lane";
    check("offsets", PQexec(connection, rows.c_str()));
  }

  void prepare() {
    check("prepare", PQprepare(connection, "write",
                               "WITH advanced AS ("
                               "UPDATE bare_offsets SET records = records + $5::int WHERE lane = $4::int RETURNING lane) "
                               "INSERT INTO messages (message_id, name, message) "
                               "SELECT input.* FROM unnest($1::int[], $2::text[], $3::text[]) input, advanced "
                               "ON CONFLICT (message_id) DO UPDATE SET name = excluded.name, message = excluded.message",
                               5, nullptr));
  }

  void write(Batch &batch, int lane) {
    const size_t records = batch.records();
    batch.fill(keys, names, messages);
    const uint32_t numbers[2] = {htonl(uint32_t(lane)), htonl(uint32_t(records))};
    const char *values[5] = {keys.data(), names.data(), messages.data(), reinterpret_cast<const char *>(&numbers[0]),
                             reinterpret_cast<const char *>(&numbers[1])};
    const int sizes[5] = {keys.size(), names.size(), messages.size(), 4, 4};
    const int formats[5] = {1, 1, 1, 1, 1};
    check("write", PQexecPrepared(connection, "write", 5, values, sizes, formats, 1));
  }

 private:
  void check(const char *what, PGresult *result) {
    if (PQresultStatus(result) != PGRES_COMMAND_OK) fail(what, PQerrorMessage(connection));
    PQclear(result);
  }

  PGconn *connection;
  BinaryArray keys, names, messages;
};

static std::atomic<long> written{0};
static std::atomic<Clock::rep> firstBatch{0};

/// Takes records of the partitions `lane`, `lane + lanes`, … and writes them until `total` records of all lanes are written.
static void runLane(const Topic &topic, int lane, int lanes, int partitions, const char *conninfo, size_t batchSize, long total) {
  Database database(conninfo);
  database.prepare();
  std::vector<rd_kafka_queue_t *> queues;
  for (int partition = lane; partition < partitions; partition += lanes) queues.push_back(topic.queue(partition));
  if (queues.empty()) return;
  Batch batch;
  size_t next = 0;
  while (written < total) {
    batch.clear();
    for (size_t empty = 0; batch.records() < batchSize && empty < queues.size(); next++) {
      rd_kafka_queue_t *queue = queues[next % queues.size()];
      const size_t before = batch.records();
      while (batch.records() < batchSize) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 0);
        if (!message) break;
        if (!message->err) batch.add(message->payload, message->len);
        rd_kafka_message_destroy(message);
      }
      empty = batch.records() == before ? empty + 1 : 0;
    }
    if (batch.records() == 0) {
      usleep(500);
      continue;
    }
    Clock::rep none = 0;
    firstBatch.compare_exchange_strong(none, Clock::now().time_since_epoch().count());
    const long records = long(batch.records());
    database.write(batch, lane);
    written += records;
  }
}

static void report(long total) {
  const Clock::duration elapsed = Clock::now().time_since_epoch() - Clock::duration(firstBatch);
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval &time) { return double(time.tv_sec) + double(time.tv_usec) / 1e6; };
  printf("%.0f rows/s, %.2f s of processor time a million rows, peak %ld MiB\n",
         double(total) / std::chrono::duration<double>(elapsed).count(),
         (seconds(usage.ru_utime) + seconds(usage.ru_stime)) / double(total) * 1e6, usage.ru_maxrss / 1024);
  fflush(stdout);
}

int main(int count, char **arguments) {
  if (count != 8) fail("usage", "worker BROKERS TOPIC PARTITIONS CONNINFO LANES BATCH TOTAL");
  const int partitions = atoi(arguments[3]), lanes = atoi(arguments[5]);
  const char *conninfo = arguments[4];
  const size_t batchSize = strtoul(arguments[6], nullptr, 10);
  const long total = atol(arguments[7]);
  Database(conninfo).makeOffsets(lanes);
  Topic topic(arguments[1], arguments[2], partitions);
  if (const long interval = atol(environment("KICK", "0")); interval > 0)
    std::thread([&topic, interval] {
      for (;;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(interval));
        topic.wakeFetcher();
      }
    }).detach();
  for (int lane = 0; lane < lanes; lane++)
    std::thread(runLane, std::cref(topic), lane, lanes, partitions, conninfo, batchSize, total).detach();
  while (written < total) topic.poll();
  report(total);
  // Threads still run, and everything is written.
  _exit(0);
}
