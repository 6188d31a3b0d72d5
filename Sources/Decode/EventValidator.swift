// Checks single events before they are records, for the ingress.

public import Records

/// Checks the events of one topic as the worker will decode them. Use it from one thread or task at a time.
public protocol EventValidator: AnyObject {
    /// Checks one event, and appends the Kafka key it must be produced with.
    ///
    /// An event that the worker would skip is valid. `metadata` columns are not checked, because there is no record yet.
    /// - Parameters:
    ///   - event: one JSON document with at least ``ByteBuffer/padding`` readable bytes after it.
    ///   - header: the value of ``routeHeader``; `nil`: the record will have none.
    ///   - key: the key is appended to it in the format of the mapping's `kafka_key`, if the event is valid.
    /// - Returns: the fault, with `record` 0; `nil` for a valid event.
    func validate(_ event: UnsafeRawBufferPointer, header: [UInt8]?, key: inout ByteBuffer) -> DecodeFault?

    /// The name of the header that says which mapping decodes a record of the topic, and the bytes of its longest value; `nil`: none does.
    var routeHeader: (name: String, longest: Int)? { get }

    /// Whether ``validate(_:header:key:)`` made a key for the last event: `false` where the mapping has no key to make, or the event is skipped
    /// and has none.
    var hasKey: Bool { get }
}

extension EventValidator {
    /// Checks an event whose record will have no header that routes it.
    public func validate(_ event: UnsafeRawBufferPointer, key: inout ByteBuffer) -> DecodeFault? {
        validate(event, header: nil, key: &key)
    }
}

extension Decoder {
    /// Headers do not matter.
    public func validate(_ event: UnsafeRawBufferPointer, header: [UInt8]?, key: inout ByteBuffer) -> DecodeFault? {
        validate(event, key: &key)
    }

    /// `nil`: the topic is not routed.
    public var routeHeader: (name: String, longest: Int)? { nil }
}

/// Checks the events of a routed topic, each by its own mapping.
public final class RoutedEventValidator: EventValidator {
    private let decoder: RouteDecoder
    private let topic: RouteDecoder.Topic
    /// See ``EventValidator/hasKey``.
    public private(set) var hasKey = false
    /// See ``EventValidator/routeHeader``.
    public let routeHeader: (name: String, longest: Int)?

    /// - Parameters:
    ///   - decoder: of the route.
    ///   - readers: the positions of the mappings that have the topic.
    public init(_ decoder: RouteDecoder, topic: String, readers: [Int]) {
        self.decoder = decoder
        self.topic = decoder.topic(topic, readers)
        routeHeader = decoder.header
    }

    /// See ``EventValidator/validate(_:header:key:)``.
    public func validate(_ event: UnsafeRawBufferPointer, header: [UInt8]?, key: inout ByteBuffer) -> DecodeFault? {
        hasKey = false
        defer { decoder.shrink() }
        do throws(EventFault) {
            switch try decoder.choice(ofEvent: event, header: header, topic) {
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
