// Tells systemd that the process has started, or is stopping.

internal import CSystemd

/// The service manager that has started this process: systemd, where the unit has `Type=notify`.
public enum ServiceManager {
    /// A state of the process, as `sd_notify(3)` names it.
    public enum State: String, Sendable {
        /// The process has started.
        case ready = "READY=1"
        /// The process is stopping.
        case stopping = "STOPPING=1"
    }

    /// Notifies the service manager; does nothing where none waits for it (`NOTIFY_SOCKET` is not set). Does not wait for its answer.
    /// - Returns: `false` where the notification could not be sent.
    @discardableResult
    public static func notify(_ state: State) -> Bool { sd_notify(0, state.rawValue) >= 0 }
}
