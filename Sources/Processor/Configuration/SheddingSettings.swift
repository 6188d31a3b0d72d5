// Declares the section `limits.shed`: when POST /send sheds load.

import Admission
import Platform
import Settings

/// Thresholds of load shedding; 0 turns one off.
struct SheddingSettings: Sendable {
    var lagRecords = 1_000_000
    var lagSeconds = 0
    var credits = 0.0
    var producerQueue = 0.8
    var longestRetry = Duration.seconds(60)

    static let section = Section<SheddingSettings>(
        "shed",
        help:
            "Load shedding: when POST /send answers 503 because Kafka or the workers do not keep up. Above a "
            + "threshold a proportional share of the requests is refused, at twice the threshold all (of a share: when "
            + "it is used up). Requests are admitted again step by step until the level is at half the threshold. A "
            + "level that cannot be measured refuses nothing. 0 turns a threshold off.",
        keys: [
            Key(
                "lag_records", \.lagRecords, .int(in: 0...1_000_000_000_000), unit: "records",
                help:
                    "Consumer lag of the group in records, from all producers; 0: off.", reload: .live),
            Key(
                "lag_seconds", \.lagSeconds, .int(in: 0...86_400), unit: "seconds",
                help:
                    "Age of the oldest record not applied; 0: off. It grows while nothing is applied, however much is "
                    + "refused, and one stopped partition is enough to reach it.", reload: .live),
            Key(
                "credits", \.credits, .double(in: 0...0.5), unit: "share",
                help:
                    "Least free share of the pipeline's credits; 0: off. Sheds at any backlog. In the role all only: an "
                    + "ingress alone has no pipeline.", reload: .live),
            Key(
                "producer_queue", \.producerQueue, .double(in: 0...0.99), unit: "share",
                help:
                    "Used share of the producer's queue (50,000 records, 64 MiB); 0: off.", reload: .live),
            Key(
                "longest_retry", \.longestRetry, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "The longest Retry-After, used while nothing is applied; up to half of it is added at random so that "
                    + "clients do not return all at once.", reload: .live),
        ])

    var limits: SheddingLimits {
        SheddingLimits(
            lagRecords: lagRecords, lagSeconds: Double(lagSeconds), credits: credits, producerQueue: producerQueue,
            longestRetry: longestRetry.inSeconds)
    }
}
