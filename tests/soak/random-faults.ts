import { setTimeout as after } from 'node:timers/promises'
import { shuffled } from '../faults/seeded-random.ts'

/** Something that goes wrong. Resolves when it is over. `share`: a random number from 0 to 1, for what in it is random. */
export type Fault = (share: number) => Promise<void>

/** One that was done. */
export interface DoneFault {
  name: string
  fromMs: number
  toMs: number
}

/** Between two faults, milliseconds. */
const PAUSE_MS = { least: 2_000, most: 7_000 }

/** Does the faults again and again, each time in another order, with pauses, until the time is over; the same for the same random numbers. */
export async function doFaults(
  faults: Readonly<Record<string, Fault>>,
  random: () => number,
  untilMs: number,
  onDone: (fault: DoneFault) => void,
): Promise<DoneFault[]> {
  const done: DoneFault[] = []
  let names: string[] = []
  for (;;) {
    if (names.length === 0) names = shuffled(Object.keys(faults), random)
    const pauseMs = PAUSE_MS.least + random() * (PAUSE_MS.most - PAUSE_MS.least)
    const name = names.pop() as string
    const share = random()
    if (Date.now() + pauseMs > untilMs) return done
    await after(pauseMs)
    const fromMs = Date.now()
    await (faults[name] as Fault)(share)
    const fault = { name, fromMs, toMs: Date.now() }
    done.push(fault)
    onDone(fault)
  }
}
