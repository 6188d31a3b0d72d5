// Load shedding in a closed loop: clients that obey Retry-After, an ingress that sheds, and a pipeline that freezes and recovers.

import Backpressure
import Glibc
import TestSupport
import Testing

@testable import Admission

/// Clients, an ingress, a log and a pipeline, ten steps a second.
///
/// The lag is measured once a second, and committed offsets are up to a second old, as in role ingress. The drain rate is measured over 12 s.
/// A client sends events at random moments; after a refusal it sends the same event again at Retry-After, and nothing meanwhile.
private struct Model: ~Copyable {
    static let step = 0.1
    struct Setting {
        var clients: Int
        /// Events a second of all clients together.
        var offered: Double
        var threshold: Int
        var drain: Double
    }

    let setting: Setting
    var random: SeededRandom
    var now = 0.0
    var levelMachine = SheddingLevelMachine()
    var machine = SheddingMachine()
    var sampler = RequestSamplerMachine()
    /// The events of each step; the flag: sent again after a refusal.
    var calendar: [[(at: Double, isRetry: Bool)]] = []
    /// Clients that wait for their Retry-After.
    var waiting = 0
    var lag = 0.0
    var admitted = 0
    var refused = 0
    var applied = 0.0
    var committed = 0.0
    var measured: (lag: Double, at: Double)?
    var history: [(at: Double, committed: Double)] = []
    // What was seen.
    var mostLag = 0.0
    var firstRefusalLag: Double?
    var decision = SheddingDecision.admitAll
    var shares: [Double] = []
    var admissions: [Int] = []

    init(_ setting: Setting, seed: UInt64) {
        self.setting = setting
        random = SeededRandom(seed: seed)
        for _ in 0..<setting.clients { plan(at: pause(), isRetry: false) }
    }

    private mutating func plan(at: Double, isRetry: Bool) {
        let step = Int((at / Self.step).rounded(.up))
        while calendar.count <= step { calendar.append([]) }
        calendar[step].append((at, isRetry))
    }

    /// The time to a client's next event, exponentially distributed.
    private mutating func pause() -> Double {
        -Double(setting.clients) / setting.offered * log(1 - random.unit())
    }

    mutating func run(seconds: Double, isFrozen: Bool) {
        let end = now + seconds
        while now < end - Self.step / 2 {
            decide()
            let before = admitted
            post()
            drain(isFrozen)
            now += Self.step
            mostLag = Swift.max(mostLag, lag)
            shares.append(decision.share)
            admissions.append(admitted - before)
        }
    }

    private mutating func decide() {
        let isWhole = (now / 1).rounded(.down) != ((now - Self.step) / 1).rounded(.down)
        if isWhole {
            measured = (Double(admitted) - committed, now)
            history.append((now, committed))
            if history.count > 13 { history.removeFirst() }
            committed = applied
        }
        var inputs = SheddingInputs()
        inputs.producer = .init(
            inFlight: .zero, bound: Credits(records: 50_000, bytes: 1 << 26), delivered: admitted)
        if let measured, let first = history.first, let last = history.last {
            let rate = last.at > first.at ? (last.committed - first.committed) / (last.at - first.at) : 0
            inputs.lag = .init(
                records: measured.lag, seconds: nil, measuredAt: UInt64((measured.at + 1) * 1e9), drainRate: rate)
        }
        let instant = UInt64((now + 1) * 1e9)
        decision = machine.levelsRead(
            levelMachine.inputsRead(inputs, now: instant), now: instant, limits: SheddingLimits(lagRecords: setting.threshold))
    }

    private mutating func post() {
        let step = Int((now / Self.step).rounded())
        guard step < calendar.count else { return }
        let clients = calendar[step]
        calendar[step] = []
        for client in clients {
            if client.isRetry { waiting -= 1 }
            if let refusal = sampler.requested(decision) {
                refused += 1
                waiting += 1
                if firstRefusalLag == nil { firstRefusalLag = lag }
                plan(at: now + Double(refusal.retryAfter), isRetry: true)
            } else {
                admitted += 1
                lag += 1
                // Not in this step again, which is over.
                plan(at: Swift.max(client.at + pause(), now + Self.step / 2), isRetry: false)
            }
        }
    }

    private mutating func drain(_ isFrozen: Bool) {
        let step = isFrozen ? 0 : Swift.min(lag, setting.drain * Self.step)
        lag -= step
        applied += step
    }

    /// How often the share changed direction by more than `least` within the last seconds.
    func reversals(seconds: Double, least: Double) -> Int {
        var reversals = 0
        var (low, high) = (Double.infinity, -Double.infinity)
        var direction = 0
        for share in shares.suffix(Int(seconds / Self.step)) {
            low = Swift.min(low, share)
            high = Swift.max(high, share)
            if direction >= 0, high - share > least {
                reversals += direction > 0 ? 1 : 0
                (direction, low) = (-1, share)
            } else if direction <= 0, share - low > least {
                reversals += direction < 0 ? 1 : 0
                (direction, high) = (1, share)
            }
        }
        return reversals
    }
}

@Suite struct SheddingModelTests {
    @Test(arguments: 0..<20) func aDatabaseThatFreezesForAMinute(round: Int) {
        let seed = testSeed("frozen database \(round)")
        var random = SeededRandom(seed: seed)
        let offered = 50 + 350 * random.unit()
        let setting = Model.Setting(
            clients: Int(offered) + Int(1_000 * random.unit()), offered: offered,
            // Records of four to twenty seconds: few are sent between two decisions.
            threshold: Int(offered * (4 + 16 * random.unit())), drain: offered * (1.5 + 4 * random.unit()))
        let threshold = Double(setting.threshold)
        var model = Model(setting, seed: seed &+ 1)
        model.run(seconds: 20, isFrozen: false)
        #expect(model.refused == 0, "nothing is refused while it drains: \(setting)")
        model.run(seconds: 60, isFrozen: true)
        #expect(model.refused > 0, "\(setting)")
        #expect(
            model.firstRefusalLag.map { $0 < 1.2 * threshold } == true,
            "refusing began at \(model.firstRefusalLag ?? 0): \(setting)")
        #expect(model.mostLag < 2 * threshold, "\(model.mostLag) records: \(setting)")
        // The last clients wait for 90 s, and may be refused once more.
        model.run(seconds: 200, isFrozen: false)
        #expect(model.decision == .admitAll, "\(setting)")
        #expect(model.lag < threshold / 2, "\(setting)")
        #expect(model.waiting == 0, "\(model.waiting) clients still wait: \(setting)")
        #expect(model.mostLag < 2 * threshold, "\(model.mostLag) records when all returned: \(setting)")
        #expect(model.reversals(seconds: 200, least: 0.1) <= 2, "the share oscillates: \(setting)")
        let refused = model.refused
        model.run(seconds: 60, isFrozen: false)
        #expect(model.refused == refused, "\(setting)")
        #expect(abs(Double(model.admissions.suffix(600).reduce(0, +)) / 60 - offered) < offered / 3, "all are served: \(setting)")
    }

    @Test(arguments: 0..<8) func moreThanDrainsForTenMinutes(round: Int) {
        let seed = testSeed("overload \(round)")
        var random = SeededRandom(seed: seed)
        let drain = 50 + 100 * random.unit()
        let setting = Model.Setting(
            clients: 10_000, offered: drain * (1.5 + 3 * random.unit()), threshold: Int(drain * (8 + 20 * random.unit())),
            drain: drain)
        let threshold = Double(setting.threshold)
        var model = Model(setting, seed: seed &+ 1)
        model.run(seconds: 600, isFrozen: false)
        #expect(model.mostLag < 2 * threshold, "\(model.mostLag) records: \(setting)")
        #expect(model.refused > 0)
        // The pipeline is kept busy, and no more is admitted than it applies.
        let rate = Double(model.admissions.suffix(3_000).reduce(0, +)) / 300
        #expect(abs(rate - drain) < drain / 20, "\(rate) events/s are admitted: \(setting)")
        #expect(model.lag > 0, "\(setting)")
        let late = model.shares.suffix(3_000)
        #expect((late.max() ?? 1) - (late.min() ?? 0) < 0.5, "between \(late.min() ?? 0) and \(late.max() ?? 0): \(setting)")
        #expect(model.reversals(seconds: 300, least: 0.2) <= 6, "the share oscillates: \(setting)")
    }
}
