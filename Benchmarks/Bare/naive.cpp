// The consumer that most people write first, as fast as such a thing can be: one message, one statement, one commit.
//
//   naive BROKERS TOPIC PARTITIONS CONNINFO
//
// All partitions are assigned from their beginning, no group is joined, no offset is kept anywhere, and nothing is counted: what is left
// is a poll, a parse, and a prepared upsert that commits by itself. It runs until it is killed. The latency benchmark alternates with it.

#include <librdkafka/rdkafka.h>
#include <libpq-fe.h>
#include <simdjson.h>
#include <arpa/inet.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

static void die(const char *what, const char *why) {
  fprintf(stderr, "naive: %s: %s\n", what, why);
  exit(1);
}

static rd_kafka_t *consumer(const char *brokers, const char *topic, int partitions) {
  char error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  auto set = [&](const char *key, const char *value) {
    if (rd_kafka_conf_set(conf, key, value, error, sizeof error)) die(key, error);
  };
  set("bootstrap.servers", brokers);
  set("group.id", "naive");
  set("enable.auto.commit", "false");
  set("auto.offset.reset", "earliest");
  // A fetch is answered with the first byte there is; this only bounds how long an empty one waits.
  set("fetch.min.bytes", "1");
  set("fetch.wait.max.ms", "50");
  set("socket.nagle.disable", "true");
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
  if (!rk) die("consumer", error);
  rd_kafka_poll_set_consumer(rk);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
  for (int p = 0; p < partitions; p++) rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
  if (rd_kafka_resp_err_t failure = rd_kafka_assign(rk, list)) die("assign", rd_kafka_err2str(failure));
  rd_kafka_topic_partition_list_destroy(list);
  return rk;
}

static PGconn *database(const char *conninfo) {
  PGconn *connection = PQconnectdb(conninfo);
  if (PQstatus(connection) != CONNECTION_OK) die("connect", PQerrorMessage(connection));
  PGresult *result = PQprepare(connection, "upsert",
                               "INSERT INTO messages (message_id, name, message) VALUES ($1::int4, $2::text, $3::text) "
                               "ON CONFLICT (message_id) DO UPDATE SET name = excluded.name, message = excluded.message, "
                               "last_updated = current_date",
                               3, nullptr);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) die("prepare", PQerrorMessage(connection));
  PQclear(result);
  return connection;
}

int main(int count, char **arguments) {
  if (count != 5) die("usage", "naive BROKERS TOPIC PARTITIONS CONNINFO");
  PGconn *connection = database(arguments[4]);
  rd_kafka_t *rk = consumer(arguments[1], arguments[2], atoi(arguments[3]));
  simdjson::ondemand::parser parser;
  std::string text;
  for (;;) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 1000);
    if (!message) continue;
    if (message->err) {
      fprintf(stderr, "naive: %s\n", rd_kafka_message_errstr(message));
      rd_kafka_message_destroy(message);
      continue;
    }
    text.assign(static_cast<const char *>(message->payload), message->len);
    text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    auto document = parser.iterate(text.data(), text.size(), text.capacity());
    // On demand fields come in the order of the text.
    std::string_view action = document["action"];
    if (action != "Upsert") die("event", "an Upsert is expected");
    const uint32_t id = htonl(static_cast<uint32_t>(int64_t(document["message_id"])));
    auto data = document["data"];
    const std::string_view name = data["name"];
    const std::string_view body = data["message"];
    const char *values[3] = {reinterpret_cast<const char *>(&id), name.data(), body.data()};
    const int lengths[3] = {4, static_cast<int>(name.size()), static_cast<int>(body.size())};
    const int formats[3] = {1, 1, 1};
    PGresult *result = PQexecPrepared(connection, "upsert", 3, values, lengths, formats, 1);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) die("upsert", PQerrorMessage(connection));
    PQclear(result);
    rd_kafka_message_destroy(message);
  }
}
