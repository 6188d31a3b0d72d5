// Declares one item of `limits.policies`: a limit on the requests of the HTTP ingress.

import Admission
import Backpressure
import Platform
import Settings

/// A policy with either a bucket or a window.
struct PolicySettings: Sendable {
    var name = ""
    var key = RateLimitPolicy.Key.client
    var unit = RateLimitPolicy.Unit.requests
    var bucket = BucketSettings()
    var window = WindowSettings()
    var shadow = false

    static let section = Section<PolicySettings>(
        "policy", help: "",
        keys: [
            Key(
                "name", \.name,
                .string.checked("must be 1 to 64 letters, digits, _ or -") { $0.isName(with: "_-") },
                help:
                    "Name of the policy in metrics, header fields and error responses.", isRequired: true,
                reload: .live),
            Key(
                "key", \.key, .choice,
                help:
                    "Who shares a quota: all requests (global), those of a client, or those of a route. A client is a "
                    + "token's name, else an address (IPv6: a /64; see http.trusted_proxies).",
                isRequired: true, reload: .live),
            Key(
                "unit", \.unit, .choice, help: "What is counted; bytes are those of request bodies.", isRequired: true,
                reload: .live),
            .section(\.bucket, BucketSettings.section),
            .section(\.window, WindowSettings.section),
            Key("shadow", \.shadow, .bool, help: "Count what the policy would refuse, without refusing it.", reload: .live),
        ],
        rules: [
            Rule(
                "bucket.rate", "bucket.burst", "window.limit", "window.seconds",
                sentence: "must come with a bucket {rate, burst} or a window {limit, seconds}, and not with both"
            ) { $0.bucket.isSet != $0.window.isSet }
        ])

    var policy: RateLimitPolicy {
        RateLimitPolicy(name, key: key, unit: unit, bucket.isSet ? bucket.quota : window.quota, isShadow: shadow)
    }
}

/// A token bucket; all 0: there is none.
struct BucketSettings: Sendable {
    var rate = 0.0
    var burst = 0

    static let section = Section<BucketSettings>(
        "bucket", help: "",
        keys: [
            Key(
                "rate", \.rate, .double(in: 0...1e12), unit: "a second",
                help:
                    "Token bucket: tokens added per second. In every t seconds at most burst + rate * t pass.", reload: .live),
            Key("burst", \.burst, .int(in: 0...1_000_000_000_000), help: "Token bucket: capacity.", reload: .live),
        ],
        rules: [
            Rule("rate", "burst", sentence: "must be a rate of at least 0.000001 with a burst of at least 1") {
                !$0.isSet || ($0.rate >= 0.000_001 && $0.burst >= 1)
            }
        ])

    var isSet: Bool { rate != 0 || burst != 0 }
    var quota: RateLimitPolicy.Quota { .bucket(TokenBucketMachine.Limit(rate: rate, burst: burst)) }
}

/// A sliding window; all 0: there is none.
struct WindowSettings: Sendable {
    var limit = 0
    var seconds = 0

    static let section = Section<WindowSettings>(
        "window", help: "",
        keys: [
            Key(
                "limit", \.limit, .int(in: 0...1_000_000_000_000),
                help:
                    "Sliding window: at most this amount passes in any window. Usage counts for up to a twentieth of the "
                    + "window longer than the window.", reload: .live),
            Key(
                "seconds", \.seconds, .int(in: 0...2_592_000), help: "Sliding window: length, at most 30 days.",
                reload: .live),
        ],
        rules: [
            Rule("limit", "seconds", sentence: "must be a limit of at least 1 with at least 1 second") {
                !$0.isSet || ($0.limit >= 1 && $0.seconds >= 1)
            }
        ])

    var isSet: Bool { limit != 0 || seconds != 0 }
    var quota: RateLimitPolicy.Quota {
        .window(SlidingWindowLimit(amount: limit, span: UInt64(Swift.max(0, seconds)) * 1_000_000_000))
    }
}

extension LimitsSettings {
    /// The limits on requests.
    var requests: RateLimits {
        RateLimits(policies: policies.map(\.policy), maxKeys: maxKeys, keyIdle: keyIdle.nanoseconds)
    }

    /// Faults of valid policies in combination.
    func policyFaults(_ origin: Origin) -> [Fault] {
        let names = policies.map(\.name)
        var faults: [Fault] = []
        for (position, name) in names.enumerated() {
            guard let first = names.firstIndex(of: name), first < position, !name.isEmpty else { continue }
            faults.append(
                Fault(
                    origin, key: "limits.policies[\(position)].name",
                    "is \(name), the name of limits.policies[\(first)], too; give each policy a name of its own"))
        }
        if policies.count > RateLimits.mostPolicies {
            faults.append(
                Fault(
                    origin, key: "limits.policies",
                    "must be at most \(RateLimits.mostPolicies) policies, are \(policies.count); remove some"))
            // Their memory cannot be computed for so many.
            return faults
        }
        let bytes = requests.clientBytes
        if bytes > Self.mostBytes {
            faults.append(
                Fault(
                    origin, key: "limits.max_keys",
                    "is \(maxKeys), which with these policies may take \(bytes >> 20) MiB; lower it, or remove policies by client, to "
                        + "at most \(Self.mostBytes >> 20) MiB"))
        }
        return faults
    }

    /// Bytes that the clients' quotas may take: a failed allocation would end the process.
    private static let mostBytes = 2 << 30
}
