// Proves by a model that a channel that is finished, or whose users are cancelled at any moment, loses no task and no element.

import Backpressure
import TestSupport
import Testing

/// A channel and its model: a list of its elements, and of the senders and receivers that wait.
private struct ChannelModel: ~Copyable {
    var channel: ChannelMachine<Int, Int, Int>
    let capacity: Credits
    var held: [Int] = []
    var senders: [(id: UInt64, element: Int)] = []
    var receivers: [UInt64] = []
    var isFinished = false
    var sent: [Int] = []
    var received: [Int] = []
    var next = 0

    init(capacity: Credits) {
        self.capacity = capacity
        // Elements cost a record, and bytes by their number.
        channel = ChannelMachine(capacity: capacity) { Self.cost($0) }
    }

    static func cost(_ element: Int) -> Credits { Credits(records: 1, bytes: element % 7) }

    var level: Credits { held.reduce(.zero) { $0 + Self.cost($1) } }
    var hasCapacity: Bool { (capacity - level).isPositive }

    mutating func accept(_ element: Int) {
        held.append(element)
        sent.append(element)
    }

    mutating func admit() -> [Int] {
        var admitted: [Int] = []
        while let first = senders.first, hasCapacity {
            senders.removeFirst()
            accept(first.element)
            admitted.append(Int(first.id))
        }
        return admitted
    }

    mutating func send(isCancelledEarly: Bool) {
        let id = channel.makeID()
        let element = next
        next += 1
        if isCancelledEarly {
            let waiting = channel.sendCancelled(id: id)
            #expect(waiting == nil)
        }
        switch channel.sendArrived(element, id: id, sender: Int(id)) {
        case .accepted(let handTo):
            #expect(!isCancelledEarly && !isFinished)
            if let handTo {
                #expect(handTo.element == element && handTo.receiver == receivers.first.map { Int($0) })
                receivers.removeFirst()
                sent.append(element)
                received.append(element)
            } else {
                #expect(receivers.isEmpty && senders.isEmpty && hasCapacity)
                accept(element)
            }
        case .suspended:
            #expect(!isCancelledEarly && !isFinished && receivers.isEmpty && !(senders.isEmpty && hasCapacity))
            senders.append((id, element))
        case .refused(let isCancelled):
            #expect(isCancelled == isCancelledEarly)
            #expect(isCancelledEarly || isFinished)
        }
        channel.departed(id: id)
    }

    mutating func receive(isCancelledEarly: Bool) {
        let id = channel.makeID()
        if isCancelledEarly {
            let waiting = channel.receiveCancelled(id: id)
            #expect(waiting == nil)
        }
        switch channel.receiveArrived(id: id, receiver: Int(id)) {
        case .element(let element, let resume):
            #expect(!isCancelledEarly && element == held.first)
            held.removeFirst()
            received.append(element)
            let admitted = admit()
            #expect(resume == admitted)
        case .suspended:
            #expect(!isCancelledEarly && held.isEmpty && !isFinished)
            receivers.append(id)
        case .ended(let isCancelled):
            #expect(isCancelled == isCancelledEarly)
            #expect(isCancelledEarly || (isFinished && held.isEmpty))
        }
        channel.departed(id: id)
    }

    mutating func take() {
        let taken = channel.take()
        guard let first = held.first else {
            #expect(taken == nil)
            return
        }
        #expect(taken?.element == first)
        held.removeFirst()
        received.append(first)
        let admitted = admit()
        #expect(taken?.resume == admitted)
    }

    mutating func cancelSender(_ random: inout SeededRandom) {
        guard let index = senders.indices.randomElement(using: &random) else { return }
        let id = senders.remove(at: index).id
        let resumed = channel.sendCancelled(id: id)
        #expect(resumed == Int(id))
        channel.departed(id: id)
    }

    mutating func cancelReceiver(_ random: inout SeededRandom) {
        guard let index = receivers.indices.randomElement(using: &random) else { return }
        let id = receivers.remove(at: index)
        let resumed = channel.receiveCancelled(id: id)
        #expect(resumed == Int(id))
        channel.departed(id: id)
    }

    mutating func finish() {
        let (refused, ended) = channel.finished()
        #expect(refused == senders.map { Int($0.id) }, "a sender that waits must be resumed")
        #expect(ended == receivers.map { Int($0) }, "a receiver that waits must be resumed")
        senders = []
        receivers = []
        isFinished = true
    }

    func check() {
        #expect(channel.level == level)
        #expect(channel.count == held.count)
        // One element may be larger than what was free; never two.
        #expect((capacity - level + Credits(records: 1, bytes: 6)).covers(Credits(records: 1, bytes: 0)))
        #expect(received + held == sent, "lost, repeated or out of order")
        #expect(senders.isEmpty || (receivers.isEmpty && !hasCapacity))
        #expect(receivers.isEmpty || held.isEmpty)
    }
}

@Suite struct ChannelModelTests {
    @Test func randomClosesAndCancellationsLoseNothing() {
        var random = SeededRandom(seed: testSeed("channel model"))
        for _ in 0..<300 {
            var model = ChannelModel(
                capacity: Credits(records: .random(in: 1...4, using: &random), bytes: .random(in: 1...15, using: &random)))
            let end = Int.random(in: 20..<200, using: &random)
            for step in 0..<220 {
                switch Int.random(in: 0..<100, using: &random) {
                case 0..<36: model.send(isCancelledEarly: false)
                case 36..<40: model.send(isCancelledEarly: true)
                case 40..<72: model.receive(isCancelledEarly: false)
                case 72..<76: model.receive(isCancelledEarly: true)
                case 76..<84: model.take()
                case 84..<92: model.cancelSender(&random)
                default: model.cancelReceiver(&random)
                }
                if step == end { model.finish() }
                model.check()
            }
            // Closed for senders at once, for receivers once it is empty.
            while !model.held.isEmpty { model.receive(isCancelledEarly: false) }
            model.receive(isCancelledEarly: false)
            model.check()
        }
    }

    /// Tasks that send, receive and are cancelled while the channel is closed under them: each ends, and nothing comes twice.
    @Test(.timeLimit(.minutes(1))) func tasksEndWhenTheChannelIsClosedUnderThem() async throws {
        for round in 0..<200 {
            let channel = BoundedChannel<Int>(capacity: Credits(records: 2, bytes: .max)) { _ in Credits(records: 1, bytes: 1) }
            let senders = (0..<6).map { value in Task { try await channel.send(value) } }
            let receivers = (0..<3).map { _ in Task { try await channel.receive() } }
            if round % 2 == 0 { senders[round % 6].cancel() }
            if round % 3 == 0 { receivers[round % 3].cancel() }
            await Task.yield()
            channel.finish()
            var accepted: Set<Int> = []
            for (value, sender) in senders.enumerated() {
                if case .success(true) = await sender.result { accepted.insert(value) }
            }
            var received: [Int] = []
            for receiver in receivers {
                if case .success(let value?) = await receiver.result { received.append(value) }
            }
            while let value = try await channel.receive() { received.append(value) }
            #expect(Set(received) == accepted)
            #expect(received.count == accepted.count)
        }
    }
}
