import type { StepStatus, TraceStatus } from '@stepwell/protocol'
import type { Style } from './terminal.ts'

/** Milliseconds as people read them: `0.13 ms`, `12.5 ms`, `250 ms`, `1.24 s`, `4m 43s`, `2h 05m`, `3d 04h`. */
export function durationText(ms: number | undefined): string {
  if (ms === undefined) return '–'
  if (ms < 1) return ms === 0 ? '0 ms' : `${ms.toPrecision(2)} ms`
  if (ms < 99.95) return `${Number(ms.toFixed(1))} ms`
  if (ms < 999.5) return `${Math.round(ms)} ms`
  const seconds = ms / 1_000
  if (seconds < 59.995) return `${seconds < 9.995 ? seconds.toFixed(2) : seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 1_440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`
  const hours = Math.round(seconds / 3_600)
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`
}

const two = (n: number): string => String(n).padStart(2, '0')

/** How long ago: `12s ago`, `3h ago`, `5d ago`; a date after 30 days; `in the future` for clocks that differ. */
export function agoText(time: Date, nowMs: number): string {
  const seconds = Math.round((nowMs - time.getTime()) / 1_000)
  if (seconds < -1) return 'in the future'
  if (seconds < 60) return `${Math.max(0, seconds)}s ago`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ago`
  if (seconds < 30 * 86_400) return `${Math.floor(seconds / 86_400)}d ago`
  return time.toISOString().slice(0, 10)
}

/** A time in UTC: `2026-11-24 09:12:33.120`. */
export const timeText = (time: Date): string => time.toISOString().replace('T', ' ').replace('Z', '')

/** The colour of a status. */
export function statusStyle(status: TraceStatus | StepStatus): Style {
  return status === 'success'
    ? 'green'
    : status === 'running'
      ? 'cyan'
      : status === 'timeout'
        ? 'yellow'
        : 'red'
}

/** A number with its thousands apart, and the noun in its number: `1,200 traces`, `1 trace`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`
}

/** Bytes as people read them: `0 B`, `12.3 KiB`, `1.5 MiB`, `310.2 GiB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  if (bytes < 2 ** 20) return `${(bytes / 1_024).toFixed(1)} KiB`
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}

/** A share of 0 to 1 in per cent: `12.5`, `0.03`; `–` where there is none. */
export function shareText(share: number | undefined): string {
  if (share === undefined) return '–'
  const percent = share * 100
  return percent === 0 ? '0' : percent < 0.095 ? percent.toPrecision(1) : percent.toFixed(1)
}

/** How often, in the unit that suits: `12.5/s`, `3.1/min`, `2/h`, `1.5/d`, `<0.1/d`. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return '–'
  const [factor, unit] = (
    [
      [1, 's'],
      [60, 'min'],
      [3_600, 'h'],
    ] as const
  ).find(([seconds]) => perSecond * seconds >= 0.995) ?? [86_400, 'd']
  const value = perSecond * factor
  if (value < 0.05) return `<0.1/${unit}`
  return `${value < 99.95 ? Number(value.toFixed(1)) : Math.round(value).toLocaleString('en-US')}/${unit}`
}
