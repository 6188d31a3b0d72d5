// Tells ThreadSanitizer of a contended Mutex: the toolchain's library that waits for one is built without the sanitizer, so it sees no
// order between the former holder and the one that has waited, and reports each such pair as a race. scripts/tsan preloads this.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

// Synchronization._MutexHandle._lockSlow(_:) and _unlockSlow(), which the inlined lock() and unlock() call where the mutex is contended.
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef __attribute__((swiftcall)) void lock_function(uint32_t thread, __attribute__((swift_context)) void *mutex);
typedef __attribute__((swiftcall)) void unlock_function(__attribute__((swift_context)) void *mutex);

static lock_function *library_lock;
static unlock_function *library_unlock;

__attribute__((constructor)) static void find(void) {
    library_lock = (lock_function *)dlsym(RTLD_NEXT, LOCK);
    library_unlock = (unlock_function *)dlsym(RTLD_NEXT, UNLOCK);
}

__attribute__((swiftcall)) void wait_for(uint32_t, __attribute__((swift_context)) void *) __asm__(LOCK);
__attribute__((swiftcall)) void wake(__attribute__((swift_context)) void *) __asm__(UNLOCK);

__attribute__((swiftcall)) void wait_for(uint32_t thread, __attribute__((swift_context)) void *mutex) {
    library_lock(thread, mutex);
    __tsan_acquire(mutex);
}

__attribute__((swiftcall)) void wake(__attribute__((swift_context)) void *mutex) {
    __tsan_release(mutex);
    library_unlock(mutex);
}
