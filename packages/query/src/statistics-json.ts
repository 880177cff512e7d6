import type { JsonObject } from '@stepwell/protocol'
import { present } from './json-form.ts'
import type { RemovedRuns } from './removed-runs.ts'
import type { SkillStatistics, TraceStatistics } from './skill-stats.ts'
import type { RunStatistics } from './statistics.ts'
import type { SkillStepStatistics, StepNumbers } from './step-stats.ts'

/** Statistics of skills in the form that they have outside of TypeScript: see `json-form.ts`. */
export function skillStatsJson({
  since,
  until,
  removed,
  total,
  skills,
  truncated,
  buckets,
}: SkillStatistics): JsonObject {
  return present({
    since,
    until,
    removed: removedJson(removed),
    total: traceNumbers(total),
    skills: skills.map(({ skillName, ...numbers }) => ({ skill_name: skillName, ...traceNumbers(numbers) })),
    truncated,
    buckets: buckets?.map(({ start, end, ...numbers }) => present({ start, end, ...traceNumbers(numbers) })),
  })
}

/** Statistics of steps. */
export function stepStatsJson({
  skillName,
  since,
  until,
  removed,
  total,
  steps,
  truncated,
}: SkillStepStatistics): JsonObject {
  return present({
    skill_name: skillName,
    since,
    until,
    removed: removedJson(removed),
    total: traceNumbers(total),
    steps: steps.map(({ stepName, buckets, ...numbers }) =>
      present({
        step_name: stepName,
        ...stepNumbers(numbers),
        buckets: buckets?.map(({ start, end, ...own }) => present({ start, end, ...stepNumbers(own) })),
      }),
    ),
    truncated,
  })
}

const removedJson = (removed: readonly RemovedRuns[] | undefined) =>
  removed?.map(({ month, removedCount }) => ({
    month: month.toISOString().slice(0, 7),
    removed_count: removedCount,
  }))

const traceNumbers = (numbers: TraceStatistics): JsonObject =>
  present({ trace_count: numbers.traceCount, ...runNumbers(numbers) })

const stepNumbers = (numbers: StepNumbers): JsonObject =>
  present({
    step_count: numbers.stepCount,
    trace_count: numbers.traceCount,
    ...runNumbers(numbers),
    total_duration_ms: numbers.totalDurationMs,
    time_share: numbers.timeShare,
    failure_share: numbers.failureShare,
  })

const runNumbers = (numbers: RunStatistics): JsonObject =>
  present({
    success_count: numbers.successCount,
    failed_count: numbers.failedCount,
    timeout_count: numbers.timeoutCount,
    running_count: numbers.runningCount,
    failure_rate: numbers.failureRate,
    per_second: numbers.perSecond,
    p50_duration_ms: numbers.p50DurationMs,
    p90_duration_ms: numbers.p90DurationMs,
    p95_duration_ms: numbers.p95DurationMs,
    p99_duration_ms: numbers.p99DurationMs,
    max_duration_ms: numbers.maxDurationMs,
    mean_duration_ms: numbers.meanDurationMs,
  })
