// Says for each kind of answer what it means for the event.

import CCurl
import Testing

@testable import sluice_loadtest

@Suite struct OutcomeTests {
    private func fate(_ status: Int, _ body: String = "", isBad: Bool = false) -> Fate {
        HTTPAnswer(code: CURLE_OK.rawValue, status: status, body: [UInt8](body.utf8)).fate(isBad: isBad)
    }

    @Test func answersBecomeFates() {
        #expect(fate(200) == .acknowledged(nil))
        #expect(fate(400) == .failed)
        #expect(fate(400, isBad: true) == .refused)
        #expect(fate(401, isBad: true) == .failed)
        #expect(fate(429) == .limited)
        #expect(fate(503) == .unknown)
        #expect(fate(503, #"{"status":503,"possibly_persisted":false}"#) == .shed)
        #expect(fate(503, #"{"status":503,"possibly_persisted":true}"#) == .unknown)
        #expect(fate(500, #"{"possibly_persisted": false}"#) == .failed)
        #expect(fate(302) == .unknown)
    }

    @Test func aConnectionThatWasNeverMadeIsCertainAndALostOneIsNot() {
        func fate(_ code: CURLcode) -> Fate { HTTPAnswer(code: code.rawValue, status: 0, body: []).fate(isBad: false) }
        #expect(fate(CURLE_COULDNT_CONNECT) == .failed)
        #expect(fate(CURLE_GOT_NOTHING) == .unknown)
        #expect(fate(CURLE_OPERATION_TIMEDOUT) == .unknown)
        #expect(fate(CURLE_SEND_FAIL_REWIND) == .unknown)
        #expect(fate(CURLE_RECV_ERROR) == .unknown)
    }
}
