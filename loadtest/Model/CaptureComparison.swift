// Compares the counts of the change capture with the model, one key at a time in ascending order of the ids.

/// Compares the capture's counts of each key with the model.
struct CaptureComparison: ~Copyable {
    /// Keys whose counts differ.
    private(set) var different = Findings("keys with other change capture counts")
    /// Captured changes of keys that agree.
    private(set) var agreeing = 0
    private let plan: EventPlan
    private var next = 0

    init(_ plan: EventPlan) { self.plan = plan }

    /// The counts of one key, inside the run's range of ids.
    mutating func key(id: Int32, counts: CaptureCounts, model: borrowing TableModel) {
        guard let slot = plan.slot(id: Int64(id)).map(Int.init), slot >= next else {
            different.add("message_id \(id) (out of range or order)")
            return
        }
        skip(to: slot, model)
        next = slot + 1
        let state = model[slot]
        if state.isUncertain { return }
        if state.captured == counts {
            agreeing += counts.total
        } else {
            different.add("message_id \(id) (has \(counts); expected \(state.captured))")
        }
    }

    /// There are no more counts.
    mutating func finished(model: borrowing TableModel) { skip(to: model.keyCount, model) }

    /// What is wrong.
    var findings: [Findings] { different.count > 0 ? [different] : [] }

    private mutating func skip(to slot: Int, _ model: borrowing TableModel) {
        while next < slot {
            let state = model[next]
            if state.captured.total > 0, !state.isUncertain {
                different.add("message_id \(plan.id(Int32(next))) (has none; expected \(state.captured))")
            }
            next += 1
        }
    }
}
