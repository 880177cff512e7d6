const { performance } = globalThis

/** Milliseconds of the monotonic clock. The global that tells it is a getter, and is asked for once. */
export const perfMs = (): number => performance.now()
