// Owns the options of a run, and checks that they fit together.

/// Where events go.
enum Target: String, Sendable, CaseIterable {
    /// Straight into the topic.
    case kafka
    /// Through the HTTP ingress.
    case http
}

/// The options of a run, with their defaults.
struct Options: Sendable, Equatable {
    var target = Target.kafka
    var brokers = ""
    var topic = "messages"
    var url = ""
    /// Bearer token of every request; empty: none.
    var token = ""
    /// PEM file of the authorities that the server's certificate may come from; empty: the system's.
    var authorities = ""
    var rate = 0.0
    var duration: Double?
    var events: UInt64?
    var keys = 10_000
    var firstID = 1
    var skew = 0.0
    var mix = Mix.usual
    var payloadBytes = 100
    var badFraction = 0.0
    var seed: UInt64 = 1
    var connections = 256
    var batch = 1
    var waitingLimit = 1_000_000
    var httpTimeout = 10.0
    var maxLag: UInt64?
    var linger = 20.0
    var properties: [String: String] = [:]
    var verify = false
    var postgres = ""
    var group = "sluice"
    var table = "messages"
    var captureTable = "messages_cdc"
    var verifyTimeout = 60.0
    var maxUncertain = 0.01
    var json: String?
    var report: String?
    var progress = false

    /// The events these options describe.
    var plan: EventPlan {
        EventPlan(
            seed: seed, keys: keys, firstID: Int32(firstID), skew: skew, mix: mix, badFraction: badFraction,
            payloadBytes: payloadBytes)
    }

    /// Options that do not fit together, with the remedy.
    var faults: [String] {
        var faults: [String] = []
        func require(_ condition: Bool, _ fault: @autoclosure () -> String) { if !condition { faults.append(fault()) } }
        switch target {
        case .kafka:
            require(batch == 1, "--batch works with --target http only: Kafka's producer makes its own batches")
            require(token.isEmpty && authorities.isEmpty, "--token-file and --cacert work with --target http only")
            require(!brokers.isEmpty, "--target kafka needs --brokers HOST:PORT[,HOST:PORT]")
            require(!topic.isEmpty, "--topic must not be empty")
        case .http:
            require(!url.isEmpty, "--target http needs --url, such as http://127.0.0.1:8000/send")
            require(maxLag == nil, "--max-lag works with --target kafka only: the ingress does not tell the length of the log")
        }
        require(duration != nil || events != nil, "the length of the run is missing: --duration SECONDS or --events N")
        require(Int64(firstID) + Int64(keys) - 1 <= Int64(Int32.max), "--key-base plus --keys goes beyond the largest int4 id")
        require(!verify || !postgres.isEmpty, "--verify needs --postgres-file FILE or --postgres URI")
        require(
            maxLag == nil || !postgres.isEmpty,
            "--max-lag needs --postgres-file FILE or --postgres URI: the worker's offsets are there")
        require(!table.isEmpty, "--table must not be empty")
        return faults
    }
}
