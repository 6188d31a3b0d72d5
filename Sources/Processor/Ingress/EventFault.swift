// Owns the answer to an event that breaks a rule of the mapping.

import Records

extension DecodeFault {
    /// The event is not JSON.
    var isMalformed: Bool { reason == "malformed_json" || reason == "too_deep" }
}

extension ProblemDetails {
    /// 400: `event` breaks a rule of the mapping.
    static func invalidEvent(_ fault: DecodeFault, in event: UnsafeRawBufferPointer) -> ProblemDetails {
        var problem = invalidEvent(reason: fault.reason, detail: fault.detail)
        if fault.isMalformed, let second = BoundaryMachine.secondDocument(in: event) {
            problem.detail +=
                " A second document begins at byte \(second). Send one event a line as application/x-ndjson, with curl"
                + " by --data-binary: -d removes the ends of lines."
        }
        return problem
    }
}
