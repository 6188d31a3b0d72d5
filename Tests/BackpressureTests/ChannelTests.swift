// Proves that a bounded channel keeps order and capacity and loses no waiting task: by transcript, by model and with real tasks.

import Backpressure
import TestSupport
import Testing

private typealias Machine = ChannelMachine<Int, Int, Int>

/// Elements cost their own value in bytes and one record each.
private func machine(records: Int, bytes: Int) -> Machine {
    Machine(capacity: Credits(records: records, bytes: bytes)) { Credits(records: 1, bytes: $0) }
}

@Suite struct ChannelTests {
    @Test func aLargeElementPassesAlone() {
        var channel = machine(records: 10, bytes: 10)
        guard case .accepted(nil) = channel.sendArrived(1000, id: channel.makeID(), sender: 1) else {
            Issue.record("an empty channel accepts any element")
            return
        }
        guard case .suspended = channel.sendArrived(1, id: channel.makeID(), sender: 2) else {
            Issue.record("a channel in debt accepts nothing")
            return
        }
        let taken = channel.take()
        #expect(taken?.element == 1000)
        #expect(taken?.resume == [2])
        #expect(channel.level == Credits(records: 1, bytes: 1))
    }

    @Test func aTakenElementIsReleased() {
        final class Batch: Sendable {}
        var channel = ChannelMachine<Batch, Int, Int>(capacity: Credits(records: 10, bytes: 10)) { _ in
            Credits(records: 1, bytes: 1)
        }
        weak var first: Batch?
        do {
            let batch = Batch()
            first = batch
            _ = channel.sendArrived(batch, id: channel.makeID(), sender: 1)
        }
        _ = channel.sendArrived(Batch(), id: channel.makeID(), sender: 2)
        #expect(first != nil)
        #expect(channel.take() != nil)
        #expect(first == nil, "its credits return, so its memory must be free")
        #expect(channel.count == 1)
    }

    @Test func aCancelledSendersElementIsRemoved() {
        var channel = machine(records: 1, bytes: 100)
        _ = channel.sendArrived(1, id: channel.makeID(), sender: 1)
        let id = channel.makeID()
        _ = channel.sendArrived(2, id: id, sender: 2)
        #expect(channel.sendCancelled(id: id) == 2)
        #expect(channel.take()?.element == 1)
        #expect(channel.take() == nil)
    }

    @Test func aCancellationBeforeTheArrivalIsRemembered() {
        var channel = machine(records: 1, bytes: 100)
        let id = channel.makeID()
        #expect(channel.receiveCancelled(id: id) == nil)
        guard case .ended(isCancelled: true) = channel.receiveArrived(id: id, receiver: 1) else {
            Issue.record("the cancellation was lost")
            return
        }
    }

    @Test func finishEmptiesFirst() {
        var channel = machine(records: 1, bytes: 100)
        _ = channel.sendArrived(1, id: channel.makeID(), sender: 1)
        _ = channel.sendArrived(2, id: channel.makeID(), sender: 2)
        #expect(channel.finished().senders == [2])
        guard case .element(1, _) = channel.receiveArrived(id: channel.makeID(), receiver: 1),
            case .ended(isCancelled: false) = channel.receiveArrived(id: channel.makeID(), receiver: 1),
            case .refused(isCancelled: false) = channel.sendArrived(3, id: channel.makeID(), sender: 3)
        else {
            Issue.record("a finished channel gives what it holds, then ends")
            return
        }
    }

    /// Random senders, receivers and cancellations against a plain list of what was accepted.
    @Test func randomActionsAgreeWithTheModel() {
        var random = SeededRandom(seed: testSeed("channel"))
        for _ in 0..<200 {
            let capacity = Credits(records: .random(in: 1...4, using: &random), bytes: .random(in: 1...20, using: &random))
            var channel = Machine(capacity: capacity) { Credits(records: 1, bytes: $0) }
            var accepted: [Int] = []
            var received: [Int] = []
            var waitingSenders: [(id: UInt64, element: Int)] = []
            var waitingReceivers: [UInt64] = []
            for _ in 0..<300 {
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<4:
                    let element = Int.random(in: 0...25, using: &random)
                    let id = channel.makeID()
                    switch channel.sendArrived(element, id: id, sender: Int(id)) {
                    case .accepted(let handTo):
                        accepted.append(element)
                        if let handTo {
                            #expect(waitingReceivers.removeFirst() == UInt64(handTo.receiver))
                            received.append(handTo.element)
                        }
                    case .suspended: waitingSenders.append((id, element))
                    case .refused: Issue.record("nothing was finished or cancelled")
                    }
                case 4..<8:
                    let id = channel.makeID()
                    switch channel.receiveArrived(id: id, receiver: Int(id)) {
                    case .element(let element, let resume):
                        received.append(element)
                        for sender in resume {
                            let first = waitingSenders.removeFirst()
                            #expect(first.id == UInt64(sender))
                            accepted.append(first.element)
                        }
                    case .suspended: waitingReceivers.append(id)
                    case .ended: Issue.record("nothing was finished or cancelled")
                    }
                case 8 where !waitingSenders.isEmpty:
                    let index = Int.random(in: 0..<waitingSenders.count, using: &random)
                    let id = waitingSenders.remove(at: index).id
                    #expect(channel.sendCancelled(id: id) == Int(id))
                case 9 where !waitingReceivers.isEmpty:
                    let index = Int.random(in: 0..<waitingReceivers.count, using: &random)
                    let id = waitingReceivers.remove(at: index)
                    #expect(channel.receiveCancelled(id: id) == Int(id))
                default: break
                }
                #expect(received == Array(accepted.prefix(received.count)))
                #expect(channel.count == accepted.count - received.count)
                #expect(channel.count <= capacity.records)
                #expect(waitingSenders.isEmpty || waitingReceivers.isEmpty)
                let hasCapacity = (capacity - channel.level).isPositive
                #expect(waitingSenders.isEmpty || !hasCapacity || channel.count == 0, "a sender waits although there is capacity")
                #expect(waitingReceivers.isEmpty || channel.count == 0, "a receiver waits although there is an element")
            }
        }
    }

    @Test func manyTasksLoseNothing() async throws {
        let channel = BoundedChannel<Int>(capacity: Credits(records: 3, bytes: .max)) { _ in Credits(records: 1, bytes: 1) }
        let senders = 8
        let each = 2_000
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for sender in 0..<senders {
                group.addTask {
                    for value in 0..<each { try await channel.send(sender * each + value) }
                    return 0
                }
            }
            for _ in 0..<3 {
                group.addTask {
                    var sum = 0
                    for _ in 0..<(senders * each / 4) {
                        guard let value = try await channel.receive() else { break }
                        sum += value
                    }
                    return sum
                }
            }
            group.addTask {
                var sum = 0
                for _ in 0..<(senders * each / 4) {
                    guard let value = try await channel.receive() else { break }
                    sum += value
                }
                return sum
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == (senders * each) * (senders * each - 1) / 2)
        #expect(channel.level == .zero)
    }

    @Test func cancelledTasksReturnAndLeaveNothingBehind() async throws {
        let channel = BoundedChannel<Int>(capacity: Credits(records: 1, bytes: .max)) { _ in Credits(records: 1, bytes: 1) }
        for _ in 0..<500 {
            let receiver = Task { try await channel.receive() }
            receiver.cancel()
            let result = await receiver.result
            #expect(throws: CancellationError.self) { _ = try result.get() }
        }
        try await channel.send(1)
        for _ in 0..<500 {
            let sender = Task { try await channel.send(2) }
            sender.cancel()
            let result = await sender.result
            #expect(throws: CancellationError.self) { _ = try result.get() }
        }
        #expect(try await channel.receive() == 1)
        #expect(channel.takeIfReady() == nil)
    }

    @Test func aMutexIsHeldByOneTaskAtATimeAndSurvivesCancellation() async throws {
        let mutex = AsyncMutex()
        let inside = Shared(0)
        let most = Shared(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let task = Task {
                        try await mutex.lock()
                        let now = inside.withLock { inside in
                            inside += 1
                            return inside
                        }
                        most.withLock { $0 = max($0, now) }
                        await Task.yield()
                        inside.withLock { $0 -= 1 }
                        mutex.unlock()
                    }
                    if number % 3 == 0 { task.cancel() }
                    _ = await task.result
                }
            }
            try await group.waitForAll()
        }
        #expect(most.current == 1)
        try await mutex.lock()
        mutex.unlock()
    }

    @Test func finishWakesAllWaiting() async throws {
        let channel = BoundedChannel<Int>(capacity: Credits(records: 1, bytes: .max)) { _ in Credits(records: 1, bytes: 1) }
        let receiver = Task { try await channel.receive() }
        channel.finish()
        #expect(try await receiver.value == nil)
        #expect(try await channel.send(1) == false)
    }
}
