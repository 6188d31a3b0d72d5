// Fills a topic with transactions: the log of a Kafka Streams or Flink job, in which a marker that is no record follows each commit.
//
//   transactions BROKERS TOPIC PARTITIONS SIZE FILE
//
// FILE has a record a line: key, tab, value. Each SIZE lines are one transaction into one partition, the partitions in turn. Ends with 0
// when the broker has committed all of them.

#include <librdkafka/rdkafka.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

static const int TIMEOUT_MS = 60000;

static void die(const char *what, const char *why) {
  fprintf(stderr, "transactions: %s: %s\n", what, why);
  exit(1);
}

static void check(const char *what, rd_kafka_error_t *error) {
  if (error) die(what, rd_kafka_error_string(error));
}

static rd_kafka_t *producer(const char *brokers) {
  char error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  auto set = [&](const char *key, const char *value) {
    if (rd_kafka_conf_set(conf, key, value, error, sizeof error)) die(key, error);
  };
  set("bootstrap.servers", brokers);
  set("transactional.id", "sluice-bench");
  set("linger.ms", "0");
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
  if (!rk) die("producer", error);
  check("init", rd_kafka_init_transactions(rk, TIMEOUT_MS));
  return rk;
}

int main(int count, char **arguments) {
  if (count != 6) die("usage", "transactions BROKERS TOPIC PARTITIONS SIZE FILE");
  const char *topic = arguments[2];
  const int partitions = atoi(arguments[3]);
  const long size = atol(arguments[4]);
  if (partitions < 1 || size < 1) die("usage", "PARTITIONS and SIZE are at least 1");
  std::ifstream file(arguments[5]);
  if (!file) die(arguments[5], "cannot be read");
  rd_kafka_t *rk = producer(arguments[1]);
  std::string line;
  long records = 0;
  auto commit = [&] { check("commit", rd_kafka_commit_transaction(rk, TIMEOUT_MS)); };
  for (; std::getline(file, line); records++) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) die("line", "has no tab between key and value");
    if (records % size == 0) {
      if (records > 0) commit();
      check("begin", rd_kafka_begin_transaction(rk));
    }
    const rd_kafka_resp_err_t failure = rd_kafka_producev(
        rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(static_cast<int32_t>(records / size % partitions)),
        RD_KAFKA_V_KEY(line.data(), tab), RD_KAFKA_V_VALUE(&line[tab + 1], line.size() - tab - 1),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (failure) die("produce", rd_kafka_err2str(failure));
  }
  if (records > 0) commit();
  rd_kafka_destroy(rk);
  return 0;
}
