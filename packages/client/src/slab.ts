/** Bytes of a slab. A step that does not fit in what is left of one makes it larger. */
export const SLAB_BYTES = 65_536
/** That are kept for what comes. */
const SLABS_MAX = 32

/**
 * A piece of memory that steps are written to, one after the other. Being written to → full, while stretches in it wait → free, to be
 * written to again. One whose stretches are forgotten is the garbage collector's.
 */
export class Slab {
  readonly memory: Buffer
  /** Stretches in it that wait. */
  stretches = 0

  constructor(memory: Buffer) {
    this.memory = memory
  }
}

const freeSlabs: Slab[] = []

/** One to write to. */
export const takeSlab = (): Slab => freeSlabs.pop() ?? new Slab(Buffer.allocUnsafeSlow(SLAB_BYTES))

/** Nobody writes to it any more, and nothing in it waits. */
export function freeSlab(slab: Slab): void {
  if (slab.memory.length === SLAB_BYTES && freeSlabs.length < SLABS_MAX) freeSlabs.push(slab)
}
