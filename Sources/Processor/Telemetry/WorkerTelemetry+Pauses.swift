// Shows which partitions operators have paused.

import Pipeline
import Records
import Telemetry

extension WorkerTelemetry {
    func registerPauses(_ registry: MetricsRegistry) {
        registry.collector(
            "sluice_partition_paused_by_operator", type: .gauge,
            help: "1 while an operator has paused the partition; /readyz and /admin/pauses say why."
        ) { [weak self] sink in
            guard let snapshot = self?.snapshot else { return }
            for position in snapshot.positions {
                let source = position.source
                sink.sample(
                    snapshot.pausedByOperator[source] == nil ? 0 : 1, ["topic": source.topic, "partition": "\(source.partition)"])
            }
        }
    }
}
