// Checks single events before they are records, for the ingress.

public import Records

/// Checks the events of one topic as the worker will decode them. Use it from one thread or task at a time.
public protocol EventValidator: AnyObject {
    /// Checks one event, and appends the Kafka key it must be produced with.
    ///
    /// An event that the worker would skip is valid. `metadata` columns are not checked, because there is no record yet.
    /// - Parameters:
    ///   - event: one JSON document with at least ``ByteBuffer/padding`` readable bytes after it.
    ///   - key: the key is appended to it in the format of the mapping's `kafka_key`, if the event is valid.
    /// - Returns: the fault, with `record` 0; `nil` for a valid event.
    func validate(_ event: UnsafeRawBufferPointer, key: inout ByteBuffer) -> DecodeFault?

    /// Whether ``validate(_:key:)`` made a key for the last event: `false` where the mapping has no key to make, or the event is skipped
    /// and has none.
    var hasKey: Bool { get }
}

/// Checks the events of a routed topic, each by its own mapping.
public final class RoutedEventValidator: EventValidator {
    private let decoder: RouteDecoder
    private let topic: RouteDecoder.Topic
    /// See ``EventValidator/hasKey``.
    public private(set) var hasKey = false

    /// - Parameters:
    ///   - decoder: of a route that ``Route/needsHeaders`` is false for.
    ///   - readers: the positions of the mappings that have the topic.
    public init(_ decoder: RouteDecoder, topic: String, readers: [Int]) {
        self.decoder = decoder
        self.topic = decoder.topic(topic, readers)
    }

    /// See ``EventValidator/validate(_:key:)``.
    public func validate(_ event: UnsafeRawBufferPointer, key: inout ByteBuffer) -> DecodeFault? {
        hasKey = false
        defer { decoder.shrink() }
        do throws(EventFault) {
            switch try decoder.choice(ofEvent: event, topic) {
            case .part(let part):
                let own = decoder.decoder(of: part)
                let fault = own.validate(event, key: &key)
                hasKey = own.hasKey
                return fault
            case .miss(let miss): return decoder.fault(miss, topic, record: 0)
            case .nothing: return nil
            }
        } catch {
            return decoder.fault(error, record: 0)
        }
    }
}
