import type { JsonObject, StepTuple, TraceState } from '@stepwell/protocol'
import { longTailed, makeMessages, makeSkills, pick, type Skill, zipf } from './skills.ts'

/** How much variety there is. */
export interface Variety {
  skills: number
  messages: number
}

const USERS = 10_000
const REGIONS = ['eu-west-1', 'eu-central-1', 'us-east-1', 'ap-south-1']
const TIMEOUT_RATE = 0.002
const PARENT_RATE = 0.1

/** Makes finished traces, one after the other, as the merge law would leave them. */
export function traceMaker(variety: Variety, random: () => number): (startedAtMs: number) => TraceState {
  const skills = makeSkills(variety.skills)
  const messages = makeMessages(variety.messages)
  let previous: string | undefined
  return (startedAtMs) => {
    const skill = skills[zipf(skills.length, random)] as Skill
    const traceId = traceIdAt(startedAtMs, random)
    const run = runOf(skill, messages, random)
    const parent = previous !== undefined && random() < PARENT_RATE ? previous : undefined
    previous = traceId
    const completed = run.steps.length
    return {
      traceId,
      startedAtMs,
      skill: skill.name,
      executionId: `exec-${hex(12, random)}`,
      parent: parent === undefined ? null : { traceId: parent, stepId: 1, rootTraceId: parent },
      metadata: metadataOf(skill, startedAtMs, random),
      metadataRevision: 1,
      end: {
        status: run.error !== null ? 'failed' : random() < TIMEOUT_RATE ? 'timeout' : 'success',
        completedAtMs: Math.ceil(startedAtMs + run.durationMs),
        durationMs: run.durationMs,
        errorMessage: run.error,
      },
      steps: run.steps,
      expected: { '': [completed, completed] },
      limitMs: null,
      isHeld: false,
    }
  }
}

/** Steps one after the other; the first that fails is the last. */
function runOf(
  { steps }: Skill,
  messages: readonly string[],
  random: () => number,
): { steps: StepTuple[]; durationMs: number; error: string | null } {
  const tuples: StepTuple[] = []
  let at = 0
  let error: string | null = null
  for (const [k, { name, medianMs, failureRate, isModelCall }] of steps.entries()) {
    const duration = longTailed(medianMs, random)
    const start = Math.round(at * 1_000) / 1_000
    at += duration
    if (random() < failureRate) {
      error = messages[zipf(messages.length, random)] as string
      tuples.push([k + 1, name, start, duration, 1, error])
      break
    }
    if (isModelCall) {
      const attributes = { model: 'small-2', 'usage.input_tokens': Math.floor(longTailed(900, random)) }
      tuples.push([k + 1, name, start, duration, 0, null, null, attributes])
    } else tuples.push([k + 1, name, start, duration])
  }
  return { steps: tuples, durationMs: Math.round(at * 1_000) / 1_000, error }
}

function metadataOf(skill: Skill, startedAtMs: number, random: () => number): JsonObject {
  const env = random()
  return {
    service: `service-${skill.name.length}`,
    env: env < 0.8 ? 'prod' : env < 0.95 ? 'staging' : 'dev',
    region: pick(REGIONS, random),
    // A new one every day.
    version: `1.${Math.floor(startedAtMs / 86_400_000) % 1_000}.0`,
    user: `user-${zipf(USERS, random)}`,
  }
}

/** A UUIDv7 of this time, from these random numbers. */
function traceIdAt(ms: number, random: () => number): string {
  const time = ms.toString(16).padStart(12, '0')
  const rest = hex(15, random)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest.slice(0, 3)}-8${rest.slice(3, 6)}-${rest.slice(6)}${hex(3, random)}`
}

function hex(digits: number, random: () => number): string {
  let text = ''
  for (; text.length < digits; )
    text += Math.floor(random() * 0x1000000)
      .toString(16)
      .padStart(6, '0')
  return text.slice(0, digits)
}
