// Measures the rate limits: a decision for one client, for a million, on both cores, and the memory of a client.

import Admission
import Backpressure
import Dispatch
import Foundation
import Glibc
import Platform

enum LimitBench {
    /// Nanoseconds a decision, and bytes a client.
    struct Result {
        var hot = 0.0
        var refused = 0.0
        var million = 0.0
        var contended = 0.0
        var bytesPerKey = 0.0
        var plannedBytes = 0.0
    }

    private static let rounds = 10_000
    private static let clients = 1_000_000

    /// A token bucket of requests and a sliding window of events for each client; one decision checks both.
    private static func limits(burst: Int, keys: Int) -> RateLimits {
        RateLimits(
            policies: [
                RateLimitPolicy("burst", key: .client, unit: .requests, .bucket(.init(rate: 1_000, burst: burst))),
                RateLimitPolicy(
                    "quota", key: .client, unit: .events, .window(.init(amount: 1_000_000_000_000, span: 60_000_000_000))),
            ], maxKeys: keys)
    }

    private static func limiter(burst: Int, keys: Int = 1_000) -> RateLimiter {
        RateLimiter(limits(burst: burst, keys: keys), clock: MonotonicClock.nanoseconds)
    }

    private static func key(_ client: Int) -> RateLimitKey { RateLimitKey(address: UInt64(client), isIPv6: false) }

    private static let cost = RateLimitCost(requests: 1, events: 1, bytes: 200)

    static func run() -> Result {
        var result = Result()
        let hot = limiter(burst: 1_000_000_000_000)
        result.hot = Measuring.nanoseconds {
            for _ in 0..<rounds { consume(hot.admit(key(1), cost) == nil) }
            return rounds
        }
        let tight = limiter(burst: 1)
        result.refused = Measuring.nanoseconds {
            for _ in 0..<rounds { consume(tight.admit(key(1), cost) == nil) }
            return rounds
        }
        result.contended = contended(hot)

        let before = residentBytes()
        let many = limiter(burst: 1_000_000_000_000, keys: clients)
        for client in 0..<clients { consume(many.admit(key(client), cost) == nil) }
        result.bytesPerKey = Double(residentBytes() - before) / Double(clients)
        result.plannedBytes = Double(many.bytesPerKey)
        var client = 0
        result.million = Measuring.nanoseconds {
            for _ in 0..<rounds {
                // A prime step visits all clients and never a neighbour of the last one.
                client = (client + 618_031) % clients
                consume(many.admit(key(client), cost) == nil)
            }
            return rounds
        }
        return result
    }

    /// Nanoseconds a decision while two threads ask at once.
    private static func contended(_ limiter: RateLimiter) -> Double {
        Measuring.nanoseconds {
            DispatchQueue.concurrentPerform(iterations: 2) { thread in
                for _ in 0..<10 * rounds { consume(limiter.admit(key(thread), cost) == nil) }
            }
            return 20 * rounds
        }
    }

    private static func residentBytes() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}
