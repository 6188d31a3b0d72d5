// A libcurl transfer with the body it sends and the response it reads.

import CCurl
import Glibc

/// One request at a time.
///
/// When a kept-alive connection is dead, libcurl repeats a POST on a new one, and the event could be written twice: a second request of
/// one transfer is refused. (A body from a callback that cannot be rewound would also prevent it, but costs a packet and two system
/// calls more.)
final class HTTPTransfer {
    /// libcurl's handle.
    let easy: CurlEasyHandle
    /// The events under way.
    private(set) var due: [DueEvent] = []
    private var writer: EventWriter
    private var body: [UInt8] = []
    private var hasBegun = false
    private var answer: [UInt8] = []
    private let answerLimit: Int

    /// - Parameters:
    ///   - url: where events are posted.
    ///   - timeout: seconds for a whole request.
    ///   - batch: most events of a request.
    ///   - authorities: PEM file of the authorities to trust; empty: the system's.
    init(
        _ plan: EventPlan, url: String, timeout: Double, headers: borrowing CurlListHandle, batch: Int = 1,
        authorities: String = ""
    ) throws(LoadError) {
        answerLimit = 4096 + (batch > 1 ? 512 * batch : 0)
        easy = try CurlEasyHandle()
        writer = EventWriter(plan)
        let handle = easy.pointer
        // Unretained: libcurl calls back only while the load, which owns this object, drives the transfer.
        let owner = Unmanaged.passUnretained(self).toOpaque()
        let results = [
            // libcurl copies the string.
            url.withCString { sluice_curl_set_pointer(handle, CURLOPT_URL, $0) },
            authorities.isEmpty ? CURLE_OK : authorities.withCString { sluice_curl_set_pointer(handle, CURLOPT_CAINFO, $0) },
            sluice_curl_set_long(handle, CURLOPT_POST, 1),
            sluice_curl_set_long(handle, CURLOPT_NOSIGNAL, 1),
            sluice_curl_set_long(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1),
            sluice_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(timeout * 1000)),
            sluice_curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers.pointer),
            sluice_curl_set_before_request(handle, curlBegins),
            sluice_curl_set_pointer(handle, CURLOPT_PREREQDATA, owner),
            sluice_curl_set_transfer(handle, CURLOPT_WRITEFUNCTION, curlWrites),
            sluice_curl_set_pointer(handle, CURLOPT_WRITEDATA, owner),
            sluice_curl_set_pointer(handle, CURLOPT_PRIVATE, owner),
        ]
        if let wrong = results.first(where: { $0 != CURLE_OK }) {
            throw LoadError(.http, "libcurl refused --url or another setting: \(String(cString: curl_easy_strerror(wrong)))")
        }
    }

    /// Adds an event to the request; each has a line of its own.
    func add(_ due: DueEvent) {
        if !self.due.isEmpty { body.append(0x0A) }
        self.due.append(due)
        body.append(contentsOf: writer.json(due.event))
    }

    /// Hands the request to the loop.
    func start(on loop: CurlLoop) throws(LoadError) {
        _ = sluice_curl_set_large(easy.pointer, CURLOPT_POSTFIELDSIZE_LARGE, body.count)
        // libcurl keeps a copy.
        body.withUnsafeBytes { _ = sluice_curl_set_pointer(easy.pointer, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) }
        try loop.start(easy)
    }

    /// The outcomes of the events under way are recorded.
    func forget() {
        due.removeAll(keepingCapacity: true)
        body.removeAll(keepingCapacity: true)
        answer.removeAll(keepingCapacity: true)
        hasBegun = false
    }

    /// The response, and the seconds of its `Retry-After` (0: none).
    func finish(_ code: CURLcode) -> (answer: HTTPAnswer, retryAfter: Int) {
        var status = 0
        var retryAfter: curl_off_t = 0
        _ = sluice_curl_get_long(easy.pointer, CURLINFO_RESPONSE_CODE, &status)
        if status >= 400 { _ = sluice_curl_get_large(easy.pointer, CURLINFO_RETRY_AFTER, &retryAfter) }
        // If the request's connection has died, the error is that of the connection on which libcurl would have repeated it.
        let isRepeated = hasBegun && HTTPAnswer.neverSent.contains(code.rawValue)
        let own = isRepeated ? CURLE_ABORTED_BY_CALLBACK : code
        return (HTTPAnswer(code: own.rawValue, status: status, body: answer), Int(retryAfter))
    }

    /// The transfer that belongs to a handle.
    static func of(_ easy: UnsafeMutableRawPointer) -> HTTPTransfer {
        var owner: UnsafeMutableRawPointer?
        _ = sluice_curl_get_pointer(easy, CURLINFO_PRIVATE, &owner)
        return Unmanaged<HTTPTransfer>.fromOpaque(owner!).takeUnretainedValue()
    }

    /// Whether a request may be sent: the first of a transfer only.
    fileprivate func begins() -> Bool {
        defer { hasBegun = true }
        return !hasBegun
    }

    fileprivate func writes(_ memory: UnsafeMutablePointer<CChar>, _ count: Int) {
        let kept = min(count, answerLimit - answer.count)
        answer.append(contentsOf: UnsafeRawBufferPointer(start: memory, count: kept))
    }
}

private func curlBegins(
    _ owner: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<CChar>?, _: UnsafeMutablePointer<CChar>?, _: Int32, _: Int32
) -> Int32 {
    Unmanaged<HTTPTransfer>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.begins() }
        ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}

private func curlWrites(_ memory: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ owner: UnsafeMutableRawPointer?)
    -> Int
{
    Unmanaged<HTTPTransfer>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.writes(memory!, size * count) }
    return size * count
}
