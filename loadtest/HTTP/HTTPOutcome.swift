// Says what an HTTP answer, or the lack of one, means for the event that was sent.

import CCurl
import Foundation

/// What an exchange ended with.
struct HTTPAnswer: Sendable, Equatable {
    /// libcurl's result; `CURLE_OK` where there was an answer.
    let code: UInt32
    /// The status of the answer; 0 where there was none.
    let status: Int
    /// The beginning of the answer's body, read for errors only.
    let body: [UInt8]

    /// The fate of the event.
    ///
    /// A retry is never made. Certain are: 200; every 4xx (the event was refused before it was produced); a connection that was
    /// never made; and a 5xx whose problem+json says `"possibly_persisted": false`. Everything else may be in the log.
    func fate(isBad: Bool) -> Fate {
        guard code == CURLE_OK.rawValue else { return Self.neverSent.contains(code) ? .failed : .unknown }
        switch status {
        case 200: return .acknowledged(nil)
        case 400 where isBad: return .refused
        case 429: return .limited
        case 400..<500: return .failed
        case 500..<600 where saysNothingWasWritten: return status == 503 ? .shed : .failed
        default: return .unknown
        }
    }

    /// What went wrong, in words; `nil` where nothing did or where it is an answer to be expected under load.
    func trouble(_ fate: Fate) -> String? {
        switch fate {
        case .acknowledged, .refused, .limited, .shed: nil
        case .failed, .unknown:
            switch CURLcode(code) {
            case CURLE_OK: "answer \(status)"
            // A second request of one transfer, which it does not make.
            case CURLE_ABORTED_BY_CALLBACK: "a kept-alive connection turned out dead"
            default: String(cString: curl_easy_strerror(CURLcode(code)))
            }
        }
    }

    /// The answers to the events of a batch, in order; `nil`: all have this one.
    var parts: [HTTPAnswer]? {
        // Only a batch that did not succeed as a whole says more than its status.
        guard code == CURLE_OK.rawValue, status != 200,
            let object = try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any],
            let results = object["results"] as? [[String: Any]], !results.isEmpty
        else { return nil }
        return results.map { result in
            let part = try? JSONSerialization.data(withJSONObject: result)
            return HTTPAnswer(code: code, status: result["status"] as? Int ?? 0, body: part.map(Array.init) ?? [])
        }
    }

    private var saysNothingWasWritten: Bool {
        guard let problem = try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] else { return false }
        return problem["possibly_persisted"] as? Bool == false
    }

    /// Results of transfers that have sent nothing, unless an earlier connection has.
    static let neverSent: Set<UInt32> = [
        CURLE_COULDNT_CONNECT.rawValue, CURLE_COULDNT_RESOLVE_HOST.rawValue, CURLE_COULDNT_RESOLVE_PROXY.rawValue,
        CURLE_URL_MALFORMAT.rawValue, CURLE_UNSUPPORTED_PROTOCOL.rawValue, CURLE_SSL_CONNECT_ERROR.rawValue,
        CURLE_PEER_FAILED_VERIFICATION.rawValue, CURLE_OUT_OF_MEMORY.rawValue, CURLE_FAILED_INIT.rawValue,
    ]
}
