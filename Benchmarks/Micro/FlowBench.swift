// Measures the cost of flow control for a batch: credits and mailboxes.

import Backpressure
import Synchronization

enum FlowBench {
    private static let rounds = 10_000

    /// Nanoseconds to request, spend and return the credits of a batch.
    static func credits() -> Double {
        let pool = CreditPool()
        let share = Credits(records: 8_192, bytes: 2 << 20)
        pool.reset(slots: 8, generation: 1, share: share, lowWatermark: 0.25, isOpen: true)
        let batch = Credits(records: 1_000, bytes: 230_000)
        return Measuring.nanoseconds {
            for round in 0..<rounds {
                let slot = round & 7
                consume(pool.allowance(slot: slot, generation: 1))
                pool.spent(slot: slot, generation: 1, batch)
                consume(pool.returned(slot: slot, generation: 1, batch, leaving: batch))
            }
            return rounds
        }
    }

    /// Nanoseconds to lock and unlock.
    static func lock() -> Double {
        let mutex = Mutex(0)
        return Measuring.nanoseconds {
            for _ in 0..<rounds { mutex.withLock { $0 &+= 1 } }
            return rounds
        }
    }

    /// Nanoseconds an element takes through our mailbox, from one task to another.
    static func channel() async throws -> Double {
        try await Measuring.nanoseconds {
            let mailbox = Mailbox<Int> { _ in Credits(records: 1, bytes: 0) }
            async let received = count(mailbox)
            for round in 0..<rounds {
                mailbox.send(round)
                if round & 63 == 0 { await Task.yield() }
            }
            mailbox.finish()
            return try await received
        }
    }

    private static func count(_ mailbox: Mailbox<Int>) async throws -> Int {
        var count = 0
        while try await mailbox.receive() != nil { count += 1 }
        return count
    }

    /// Nanoseconds an element takes through the standard library's unbounded one.
    static func stream() async -> Double {
        await Measuring.nanoseconds {
            let (stream, continuation) = AsyncStream.makeStream(of: Int.self)
            async let received = count(stream)
            for round in 0..<rounds {
                continuation.yield(round)
                if round & 63 == 0 { await Task.yield() }
            }
            continuation.finish()
            return await received
        }
    }

    private static func count(_ stream: AsyncStream<Int>) async -> Int {
        var count = 0
        for await _ in stream { count += 1 }
        return count
    }
}
