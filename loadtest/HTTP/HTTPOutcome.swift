// Determines an event's outcome from its HTTP response or the lack of one.

import CCurl
import Foundation

/// The end of an HTTP exchange.
struct HTTPAnswer: Sendable, Equatable {
    /// libcurl's result; `CURLE_OK` if there was a response.
    let code: UInt32
    /// The status of the response; 0 if there was none.
    let status: Int
    /// The beginning of the response's body, read for errors only.
    let body: [UInt8]

    /// The outcome of the event.
    ///
    /// There are no retries. Certain are: 200; every 4xx (the event was refused before it was produced); a failed connect; and a 5xx whose
    /// problem+json has `"possibly_persisted": false`. After everything else the event may be in the log.
    func outcome(isBad: Bool) -> EventOutcome {
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

    /// The text of an error; `nil` for success and for responses that are expected under load.
    func problem(_ outcome: EventOutcome) -> String? {
        switch outcome {
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

    /// The responses to the events of a batch, in order; `nil`: all have this one.
    var parts: [HTTPAnswer]? {
        // Only a batch that did not succeed as a whole has results.
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
