// Owns why a record is skipped, and its sentence.

import Records

/// Why a record is skipped. Plain data; the sentence is made only where somebody asks.
enum SkipCause: BitwiseCopyable {
    /// A condition of `where` is not met. Without a payload none on fields is.
    case condition(Int, hasPayload: Bool)
    /// The mapping's mode does not take the operation.
    case operation(Operation)
    /// The mapping skips records without payload.
    case nullPayload
    /// A message of the application in Debezium's stream.
    case message
    /// A heartbeat, or a record of Debezium's transaction topic.
    case otherRecord

    /// Why, without a full stop: `condition /kind equals order is not met`.
    /// - Parameter isFormer: the row was read from Debezium's `before`.
    func sentence(_ plan: DecodePlan, ofFormerRow isFormer: Bool) -> String {
        switch self {
        case .condition(let index, let hasPayload):
            Self.text(plan.conditions, index, plan, isFormer)
                + (hasPayload ? " is not met" : " is not met by a record without payload")
        case .operation(let operation): "mode \(plan.mode.rawValue) takes no \(operation)"
        case .nullPayload: "the mapping has null_payload: skip"
        case .message: "op m, a message of the application"
        case .otherRecord: "a heartbeat or a transaction record of Debezium"
        }
    }

    private static func text(_ conditions: Conditions, _ index: Int, _ plan: DecodePlan, _ isFormer: Bool) -> String {
        let step = conditions.steps.start[index]
        let subject = step.slot < 0 ? "header \(plan.headers[step.header])" : plan.path(step.slot, ofFormerRow: isFormer)
        let test =
            switch step.test {
            case .exists(let isWanted): isWanted ? "exists" : "is absent or null"
            case .isOneOf(let first, let count):
                (count == 1 ? "equals " : "is one of ") + conditions.texts[first..<first + count].joined(separator: ", ")
            }
        return "condition \(subject) \(test)"
    }
}
