// Puts the mappings' decoders behind the pipeline's port.

import Decode
import Pipeline
import Records

/// The decoders of the decode stage.
struct StageDecoder: RecordDecoder, @unchecked Sendable {
    // Licence for @unchecked: a Decoder is used by one task at a time. The decode stage calls it from one child task only
    // (RecordDecoder's contract).
    private let decoders: [Decoder]
    private let routes: TopicRoutes
    private let route: RouteDecoder?

    /// - Parameters:
    ///   - routes: which of the mappings is a topic's.
    ///   - route: which of them decodes a record of a topic that several have.
    init(_ mappings: [Mapping], routes: TopicRoutes, route: Route?) {
        let decoders = mappings.map { Decoder(mapping: $0) }
        self.decoders = decoders
        self.routes = routes
        self.route = route.map { RouteDecoder($0, decoders: decoders, routed: routes.routed) }
    }

    func decode(_ batch: RecordBatch) -> DecodeResult {
        guard let mapping = routes.mapping(of: batch.source.topic) else {
            preconditionFailure("records of \(batch.source) were read, which is no mapping's")
        }
        if mapping == routes.route, let route {
            return .decoded(route.decode(batch, readers: routes.readers(of: batch.source.topic)))
        }
        return .decoded(decoders[mapping].decode(batch))
    }
}
