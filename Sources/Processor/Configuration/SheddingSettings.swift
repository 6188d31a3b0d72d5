// Declares the section `limits.shed`: when POST /send refuses what the pipe behind it cannot carry.

import Admission
import Settings

/// Thresholds of shedding; 0 turns one off.
struct SheddingSettings: Sendable {
    var lagRecords = 1_000_000
    var lagSeconds = 0
    var credits = 0.0
    var producerQueue = 0.8
    var longestRetry = Duration.seconds(60)

    static let section = Section<SheddingSettings>(
        "shed",
        help:
            "When POST /send answers 503, because what is behind it does not keep up: beyond a threshold a share of the requests in "
            + "proportion, at twice as much (or where a share is used up) all; admitted again step by step down to half of it. "
            + "What is not known refuses nothing.",
        keys: [
            Key(
                "lag_records", \.lagRecords, .int(in: 0...1_000_000_000_000), unit: "records",
                help: "Records in the log that the group has not applied, whoever wrote them; 0: off.", reload: .live),
            Key(
                "lag_seconds", \.lagSeconds, .int(in: 0...86_400), unit: "seconds",
                help:
                    "Age of the oldest of them; 0: off. While nothing drains it grows whatever is refused, and one stopped partition is "
                    + "enough.", reload: .live),
            Key(
                "credits", \.credits, .double(in: 0...0.5), unit: "share",
                help:
                    "Least free share of the pipeline's credits; 0: off. For those who want to give way to any backlog. Role all only: "
                    + "an ingress by itself has no pipeline.", reload: .live),
            Key(
                "producer_queue", \.producerQueue, .double(in: 0...0.99), unit: "share",
                help: "Share of what may be on its way to the brokers (50,000 records, 64 MiB); 0: off.", reload: .live),
            Key(
                "longest_retry", \.longestRetry, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "The longest Retry-After, told where nothing drains; up to half as much again is added so that callers do not come "
                    + "back together.", reload: .live),
        ])

    var limits: SheddingLimits {
        SheddingLimits(
            lagRecords: lagRecords, lagSeconds: Double(lagSeconds), credits: credits, producerQueue: producerQueue,
            longestRetry: longestRetry.inSeconds)
    }
}
