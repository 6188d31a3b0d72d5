// Carries out what the pause machines decide, in the source and in the credit pool.

import Backpressure
import Records

extension AssignmentStage {
    /// What operators have paused became known.
    func operatorDecided(_ pauses: OperatorPauses) { perform(control.operatorDecided(pauses)) }

    /// Looks at every partition's account and pulls or releases its second brake.
    func moveBrakes(now: UInt64) {
        for (entry, action, isFlap) in board.brakes(
            now: now, pool: context.pool, ledger: context.ledger, context.configuration)
        {
            let isPulled = action == .pause
            perform(control.brakeMoved(entry.source, isPulled: isPulled))
            context.observer.observed(isPulled ? .paused(entry.source) : .resumed(entry.source))
            if isFlap { context.observer.observed(.flapped(entry.source)) }
        }
    }

    func perform(_ steps: [PauseControl.Step]) {
        for step in steps {
            switch step.action {
            case .shutGate: context.pool.close(slot: step.slot)
            case .openGate: context.pool.open(slot: step.slot, generation: step.generation)
            case .pause: context.source.pause(step.source)
            case .resume: context.source.resume(step.source)
            }
        }
    }
}
