// One member: a pipeline with its ports, and the task that runs it.

import Backpressure
import Pipeline
import Records

/// How `run()` ended.
enum Outcome {
    case returned
    case threw(any Error)
}

final class Member: @unchecked Sendable {
    // Licence for @unchecked: its tasks run on the schedule's executor, so all of it stays on the driver's thread.

    struct SourceDied: Error {}

    /// A decision of an operator.
    enum Decision {
        case pauses(OperatorPauses)
        case limits(PipelineConfiguration)
    }

    private let world: SimulatedWorld
    let source: SimulatedSource
    private(set) var pipeline: EventPipeline?
    private var task: Task<Void, Never>?
    private(set) var outcome: Outcome?
    private(set) var ending: Ending?
    private var decisions: [Decision] = []
    private var isDeciding = false

    init(_ world: SimulatedWorld, life: UInt64) {
        self.world = world
        defer { world.member = self }
        let pool = CreditPool(
            batchOverhead: world.scenario.batchOverhead, recordOverhead: world.scenario.recordOverhead)
        source = SimulatedSource(world: world, pool: pool, life: life)
        let configuration = world.scenario.configuration
        let pipeline = EventPipeline(
            configuration: configuration, source: source, decoder: SimulatedDecoder(world: world),
            claimer: SimulatedClaimer(world: world),
            appliers: (0..<configuration.lanes).map { SimulatedLane(world: world, number: $0) }, pool: pool, clock: world.clock,
            observer: SimulatedObserver(world: world))
        self.pipeline = pipeline
        world.hasEnded = false
        task = Task(executorPreference: world.executor) { [weak self] in
            let outcome: Outcome
            do {
                try await pipeline.run()
                outcome = .returned
            } catch {
                outcome = .threw(error)
            }
            self?.ended(outcome)
        }
    }

    private func ended(_ outcome: Outcome) {
        self.outcome = outcome
        world.hasEnded = true
        world.note(.end, 0, 0, "run() \(outcome)")
    }

    /// Carries out an operator's decision, one after the other.
    func decide(_ decision: Decision) {
        switch decision {
        case .pauses(let pauses): world.note(.fault, 20, pauses.all.count, "operator: pauses \(pauses.all)")
        case .limits(let limits): world.note(.fault, 21, limits.budget.records, "operator: the budget is \(limits.budget)")
        }
        decisions.append(decision)
        guard !isDeciding, let pipeline else { return }
        isDeciding = true
        Task(executorPreference: world.executor) { [self] in
            while !decisions.isEmpty {
                switch decisions.removeFirst() {
                case .pauses(let pauses): pipeline.operatorDecided(pauses)
                case .limits(let configuration): pipeline.reconfigure(configuration)
                }
            }
            isDeciding = false
        }
    }

    /// Begins the end.
    func end(_ ending: Ending) {
        self.ending = ending
        world.note(.phase, 1, 0, "the end begins: \(ending)")
        if ending != .calm, ending != .shutdown { source.distrustAll() }
        switch ending {
        case .calm, .shutdown:
            world.coverage.met(.shutdowns)
            let limit = world.scenario.shutdownLimit
            pipeline?.shutdown(within: limit)
        case .cancelled:
            world.coverage.met(.cancellations)
            task?.cancel()
        case .sourceFailed:
            world.coverage.met(.sourceDeaths)
            source.post(.failed(SourceDied()))
        case .sourceClosed: source.close()
        }
    }

    /// Releases the pipeline. Returns whether it was deallocated.
    func isForgotten() -> Bool {
        task = nil
        weak let pipeline = self.pipeline
        self.pipeline = nil
        return pipeline == nil
    }
}

/// Writes what the pipeline reports into the transcript.
struct SimulatedObserver: PipelineObserver {
    let world: SimulatedWorld

    func observed(_ event: PipelineEvent) {
        world.entered("observed")
        switch event {
        case .fenced(let source):
            world.coverage.met(.fences)
            world.note(.event, 1, Int(source.partition), "pipeline: \(source) is fenced")
        case .stopped(let source, let reason):
            world.coverage.met(.stops)
            world.note(.event, 2, Int(source.partition), "pipeline: \(source) is stopped: \(reason)")
        case .claimed(let claims):
            world.note(.event, 3, claims.count, "pipeline: reads \(claims.map { "\($0.source) epoch \($0.epoch)" })")
        case .claimFailed(let partitions, let reason, let wait):
            world.coverage.met(.failedClaims)
            world.note(.event, 4, Int64(wait), "pipeline: \(partitions) not claimed, again in \(wait / 1_000) µs: \(reason)")
        case .drained(let isComplete, let nanoseconds):
            world.coverage.met(isComplete ? .completeDrains : .incompleteDrains)
            // Also where it is complete: a batch that has not reached the poll stage is dropped, and read again later.
            world.member?.source.distrustAll()
            world.note(.event, 5, Int64(nanoseconds), "pipeline: drained \(isComplete ? "completely" : "in part")")
        case .retrying(let lane, let reason, let wait):
            world.coverage.met(.retries)
            world.note(.event, 6, Int64(wait), "pipeline: lane \(lane) tries again in \(wait / 1_000) µs: \(reason)")
        case .circuit(let state):
            if state == .open { world.coverage.met(.circuitOpenings) }
            world.note(.event, 7, state.rawValue, "pipeline: circuit \(state)")
        case .positionLost(let source, _):
            world.note(.event, 8, Int(source.partition), "pipeline: \(source) has lost its position")
        default:
            world.note(.event, 9)
        }
    }
}
