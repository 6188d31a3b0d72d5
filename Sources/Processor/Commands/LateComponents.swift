// Holds the components of a run that exist only once a server has answered.

import Kafka
import Synchronization

/// What is started once a server has answered, for the reloader and for the end.
final class LateComponents: Sendable {
    final class Late<Component: Sendable>: Sendable {
        private let state = Mutex<Component?>(nil)
        /// `nil`: it is not started.
        var current: Component? { state.withLock { $0 } }
        func set(_ component: Component) { state.withLock { $0 = component } }
    }

    let metadata = Late<KafkaMetadata>()
    let producer = Late<KafkaProducer>()
    let worker = Late<Worker>()
    /// Ends when no more events are taken.
    let lastEvents = Late<Task<Void, Never>>()
    /// Its pipeline has ended: there is nothing to drain, though another worker may be on its way.
    let isWorkerEnded = Atomic(false)
    /// No worker is to be started any more.
    let isStopping = Atomic(false)

    /// The worker, once one is there.
    var presentWorker: Worker {
        guard let worker = worker.current else { preconditionFailure("operators are served once there is a worker") }
        return worker
    }
}
