// Owns one connection's worth of state: a libcurl transfer, the body it sends and what it has read of the answer.

import CCurl
import Glibc

/// One request at a time.
///
/// The body goes out through a read callback that cannot be rewound, on purpose: libcurl would otherwise repeat a POST by itself
/// on a fresh connection when a kept-alive one turns out dead, and the event could be written twice.
final class HTTPTransfer {
    /// libcurl's handle.
    let easy: CurlEasyHandle
    /// The events under way.
    private(set) var due: [DueEvent] = []
    private var writer: EventWriter
    private var body: [UInt8] = []
    private var sent = 0
    private var answer: [UInt8] = []
    private let answerLimit: Int

    /// - Parameters:
    ///   - url: where events are posted.
    ///   - timeout: seconds for a whole request.
    ///   - batch: most events of a request.
    init(
        _ plan: EventPlan, url: String, timeout: Double, headers: borrowing CurlListHandle, batch: Int = 1
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
            sluice_curl_set_long(handle, CURLOPT_POST, 1),
            sluice_curl_set_long(handle, CURLOPT_NOSIGNAL, 1),
            sluice_curl_set_long(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1),
            sluice_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(timeout * 1000)),
            sluice_curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers.pointer),
            sluice_curl_set_transfer(handle, CURLOPT_READFUNCTION, curlReads),
            sluice_curl_set_pointer(handle, CURLOPT_READDATA, owner),
            sluice_curl_set_transfer(handle, CURLOPT_WRITEFUNCTION, curlWrites),
            sluice_curl_set_pointer(handle, CURLOPT_WRITEDATA, owner),
            sluice_curl_set_pointer(handle, CURLOPT_PRIVATE, owner),
        ]
        if let wrong = results.first(where: { $0 != CURLE_OK }) {
            throw LoadError(.http, "libcurl refused --url or another setting: \(String(cString: curl_easy_strerror(wrong)))")
        }
    }

    /// Makes an event's request ready to be started.
    func prepare(_ due: DueEvent) {
        self.due.append(due)
        body.removeAll(keepingCapacity: true)
        body.append(contentsOf: writer.json(due.event))
        sent = 0
        answer.removeAll(keepingCapacity: true)
        _ = sluice_curl_set_large(easy.pointer, CURLOPT_POSTFIELDSIZE_LARGE, body.count)
    }

    /// Adds an event to a request that has been prepared and not started, on a line of its own.
    func add(_ due: DueEvent) {
        self.due.append(due)
        body.append(0x0A)
        body.append(contentsOf: writer.json(due.event))
        _ = sluice_curl_set_large(easy.pointer, CURLOPT_POSTFIELDSIZE_LARGE, body.count)
    }

    /// The events under way are settled.
    func forget() { due.removeAll(keepingCapacity: true) }

    /// What came back, and the seconds after which the server asks to come back (0: not said).
    func finish(_ code: CURLcode) -> (answer: HTTPAnswer, retryAfter: Int) {
        var status = 0
        var retryAfter: curl_off_t = 0
        _ = sluice_curl_get_long(easy.pointer, CURLINFO_RESPONSE_CODE, &status)
        if status >= 400 { _ = sluice_curl_get_large(easy.pointer, CURLINFO_RETRY_AFTER, &retryAfter) }
        return (HTTPAnswer(code: code.rawValue, status: status, body: answer), Int(retryAfter))
    }

    /// The transfer that belongs to a handle.
    static func of(_ easy: UnsafeMutableRawPointer) -> HTTPTransfer {
        var owner: UnsafeMutableRawPointer?
        _ = sluice_curl_get_pointer(easy, CURLINFO_PRIVATE, &owner)
        return Unmanaged<HTTPTransfer>.fromOpaque(owner!).takeUnretainedValue()
    }

    fileprivate func reads(into memory: UnsafeMutablePointer<CChar>, _ room: Int) -> Int {
        let count = min(room, body.count - sent)
        if count > 0 { body.withUnsafeBytes { _ = memcpy(memory, $0.baseAddress! + sent, count) } }
        sent += count
        return count
    }

    fileprivate func writes(_ memory: UnsafeMutablePointer<CChar>, _ count: Int) {
        let kept = min(count, answerLimit - answer.count)
        answer.append(contentsOf: UnsafeRawBufferPointer(start: memory, count: kept))
    }
}

private func curlReads(_ memory: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ owner: UnsafeMutableRawPointer?)
    -> Int
{
    Unmanaged<HTTPTransfer>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.reads(into: memory!, size * count) }
}

private func curlWrites(_ memory: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ owner: UnsafeMutableRawPointer?)
    -> Int
{
    Unmanaged<HTTPTransfer>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.writes(memory!, size * count) }
    return size * count
}
