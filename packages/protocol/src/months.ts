/** A calendar month in UTC. */
export interface Month {
  year: number
  /** 1 to 12. */
  month: number
}

/** The month that a time lies in, UTC. */
export function monthOf(timeMs: number): Month {
  const date = new Date(timeMs)
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1 }
}

/** The month `count` months later (earlier if negative). */
export function addMonths({ year, month }: Month, count: number): Month {
  const index = year * 12 + (month - 1) + count
  return { year: Math.floor(index / 12), month: (((index % 12) + 12) % 12) + 1 }
}

/** First millisecond of the month and first of the next, UTC, in milliseconds since 1970. */
export function monthBounds({ year, month }: Month): { fromMs: number; toMs: number } {
  return { fromMs: Date.UTC(year, month - 1, 1), toMs: Date.UTC(year, month, 1) }
}

/** Name of the month's partition: `execution_traces_2025_11`. */
export function partitionName({ year, month }: Month): string {
  return `execution_traces_${year}_${String(month).padStart(2, '0')}`
}

/** The month that a partition's name tells, or undefined if it is not one of ours. */
export function monthOfPartition(name: string): Month | undefined {
  const match = /^execution_traces_(\d{4})_(0[1-9]|1[0-2])$/.exec(name)
  return match ? { year: Number(match[1]), month: Number(match[2]) } : undefined
}

/** The time of an ISO 8601 text, one without an offset being UTC; undefined for anything else. */
export function isoTime(text: string): Date | undefined {
  const parts =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(Z|[+-]\d{2}:?\d{2})?)?$/i.exec(text)
  if (parts === null || !isDayOfMonth(text)) return undefined
  const [, day, clock = '00:00', offset = 'Z'] = parts
  const whole = offset.length === 5 ? `${offset.slice(0, 3)}:${offset.slice(3)}` : offset.toUpperCase()
  const time = new Date(`${day}T${clock.replace(',', '.')}${whole}`)
  return Number.isNaN(time.getTime()) ? undefined : time
}

/** Whether the day that an ISO 8601 text begins with, `2026-02-28`, is one of its month: a Date takes the 30th of February for the 2nd of March. */
function isDayOfMonth(text: string): boolean {
  const day = text.slice(0, 10)
  const date = new Date(`${day}T00:00Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day)
}
