/** What a check came to. `warn`: it works, and will hurt one day. `fail`: something does not work, or data can be lost. */
export type CheckStatus = 'ok' | 'warn' | 'fail'

/** One thing that was looked at. */
export interface Check {
  area: 'redis' | 'postgres' | 'workers'
  name: string
  status: CheckStatus
  /** What was found. */
  found: string
  /** What to do about it; with `warn` and `fail`. */
  advice?: string
}

/** A check that is fine if `good`; else it has this status, and the advice. */
export function judged(
  area: Check['area'],
  name: string,
  found: string,
  good: boolean,
  status: Exclude<CheckStatus, 'ok'>,
  advice: string,
): Check {
  return good ? { area, name, status: 'ok', found } : { area, name, status, found, advice }
}
