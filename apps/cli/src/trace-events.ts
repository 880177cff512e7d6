import { type Delta, decodeEnd, frameFields, type JsonObject, stepOfTuple } from '@stepwell/protocol'
import { decodeFrame, startOf } from '@stepwell/protocol/schema'
import { present, stepJson } from '@stepwell/query'
import { mayTellOf } from './frame-search.ts'

/** Something that happened in a trace. */
export interface TraceEvent {
  event: 'start' | 'step_start' | 'step_end' | 'end'
  timeMs: number
  traceId: string
  skillName: string
  /** Of a step its name. */
  name?: string
  status?: string
  durationMs?: number
  errorMessage?: string
  json: JsonObject
}

const SKILLS_MAX = 10_000

/** Makes events of frames. It remembers the skills of 10,000 traces, for only their owner's deltas name them. */
export class EventReader {
  readonly #skill: string | undefined
  readonly #skills = new Map<string, string>()

  /** Of all runs, or of those of one skill; `''`: of those whose skill is not known. */
  constructor(skill?: string) {
    this.#skill = skill
  }

  /** What a stream entry tells, its fields as they lie there; nothing where it is no frame. */
  eventsOf(fields: readonly string[], sentMs: number): TraceEvent[] {
    if (this.#canPassOver(fields)) return []
    const decoded = decodeFrame(fields, sentMs)
    return decoded.ok ? decoded.deltas.flatMap((delta) => this.#eventsOf(delta, sentMs)) : []
  }

  #canPassOver(fields: readonly string[]): boolean {
    if (!this.#skill) return false
    const byName = frameFields(fields)
    // A packed one would be unpacked twice.
    return !byName.has('z') && !mayTellOf(byName.get('d') ?? '', this.#skill, this.#skills)
  }

  #eventsOf(delta: Delta, sentMs: number): TraceEvent[] {
    const skillName = this.#skillOf(delta)
    if (this.#skill !== undefined && this.#skill !== skillName) return []
    const startedAtMs = startOf(delta) ?? sentMs
    const common = { traceId: delta.t, skillName }
    const json = { trace_id: delta.t, skill_name: skillName }
    const events: TraceEvent[] = []
    if (delta.b === 1) {
      const told = present({
        ...json,
        execution_id: delta.x,
        started_at: new Date(startedAtMs),
        metadata: delta.m,
      })
      events.push({ ...common, event: 'start', timeMs: startedAtMs, json: { event: 'start', ...told } })
    }
    for (const tuple of delta.s ?? []) {
      const step = stepOfTuple(tuple, startedAtMs)
      const event = step.status === 'running' ? 'step_start' : 'step_end'
      const at = step.timestamp?.getTime()
      events.push({
        ...common,
        event,
        timeMs: at === undefined ? sentMs : at + (step.durationMs ?? 0),
        name: step.name,
        ...(event === 'step_start' ? {} : { status: step.status, durationMs: step.durationMs as number }),
        ...(step.errorMessage === undefined ? {} : { errorMessage: step.errorMessage }),
        json: { event, ...json, step: stepJson(step) },
      })
    }
    if (delta.e !== undefined) {
      const end = decodeEnd(delta.e, startedAtMs)
      const told = {
        status: end.status,
        completed_at: end.completedAtMs === null ? undefined : new Date(end.completedAtMs),
        total_duration_ms: end.durationMs ?? undefined,
        error_message: end.errorMessage ?? undefined,
      }
      events.push({
        ...common,
        event: 'end',
        timeMs: end.completedAtMs ?? sentMs,
        status: end.status,
        ...(end.durationMs === null ? {} : { durationMs: end.durationMs }),
        ...(end.errorMessage === null ? {} : { errorMessage: end.errorMessage }),
        json: { event: 'end', ...json, ...present(told) },
      })
    }
    return events
  }

  #skillOf(delta: Delta): string {
    if (delta.k === undefined) return this.#skills.get(delta.t) ?? ''
    // Of one skill its own traces are all that need be known.
    if (delta.e !== undefined || (this.#skill && this.#skill !== delta.k)) this.#skills.delete(delta.t)
    else {
      this.#skills.set(delta.t, delta.k)
      if (this.#skills.size > SKILLS_MAX) this.#skills.delete(this.#skills.keys().next().value as string)
    }
    return delta.k
  }
}
