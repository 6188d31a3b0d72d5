// Says for each kind of answer what it means for the event.

import CCurl
import Testing

@testable import sluice_loadtest

@Suite struct OutcomeTests {
    private func outcome(_ status: Int, _ body: String = "", isBad: Bool = false) -> EventOutcome {
        HTTPAnswer(code: CURLE_OK.rawValue, status: status, body: [UInt8](body.utf8)).outcome(isBad: isBad)
    }

    @Test func answersBecomeFates() {
        #expect(outcome(200) == .acknowledged(nil))
        #expect(outcome(400) == .failed)
        #expect(outcome(400, isBad: true) == .refused)
        #expect(outcome(401, isBad: true) == .failed)
        #expect(outcome(429) == .limited)
        #expect(outcome(503) == .unknown)
        #expect(outcome(503, #"{"status":503,"possibly_persisted":false}"#) == .shed)
        #expect(outcome(503, #"{"status":503,"possibly_persisted":true}"#) == .unknown)
        #expect(outcome(500, #"{"possibly_persisted": false}"#) == .failed)
        #expect(outcome(302) == .unknown)
    }

    @Test func aConnectionThatWasNeverMadeIsCertainAndALostOneIsNot() {
        func outcome(_ code: CURLcode) -> EventOutcome {
            HTTPAnswer(code: code.rawValue, status: 0, body: []).outcome(isBad: false)
        }
        #expect(outcome(CURLE_COULDNT_CONNECT) == .failed)
        #expect(outcome(CURLE_GOT_NOTHING) == .unknown)
        #expect(outcome(CURLE_OPERATION_TIMEDOUT) == .unknown)
        #expect(outcome(CURLE_SEND_FAIL_REWIND) == .unknown)
        #expect(outcome(CURLE_RECV_ERROR) == .unknown)
    }
}
