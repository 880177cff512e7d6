export { InvalidInputError, type Step, type Trace, type TraceSummary } from '@stepwell/protocol'
export { type ClockSkew, clockSkew } from './clock-skew.ts'
export {
  type ComparedStep,
  compareTraces,
  type MetadataDifference,
  type StepRun,
  type TraceComparison,
} from './compare-traces.ts'
export { comparisonJson } from './comparison-json.ts'
export type { DatabaseConfig, QueryOptions } from './database.ts'
export {
  explainFailures,
  type FailureExplanation,
  type FailureFinding,
  type NumberFinding,
} from './explain-failures.ts'
export type { FailureReport, RunsLookedAt } from './explain-window.ts'
export { explanationJson } from './explanation-json.ts'
export type { FailureGroup } from './failure-group.ts'
export type {
  FailureExample,
  FailureGroupPage,
  FailureGroupSummary,
  FailureNote,
} from './failure-groups.ts'
export type { FoundTraces, TracePage } from './found-traces.ts'
export { present, skewJson, stepJson, summaryJson, traceJson } from './json-form.ts'
export type { SkillSummary } from './list-skills.ts'
export type { RemovedRuns } from './removed-runs.ts'
export type { RunFacts } from './run-counts.ts'
export type { RunningList, RunningTrace } from './running-traces.ts'
export type { SimilarFailure } from './similar-failures.ts'
export type { SkillStatistics, TraceBucket, TraceStatistics } from './skill-stats.ts'
export type { RunStatistics, StatisticsWindow } from './statistics.ts'
export { skillStatsJson, stepStatsJson } from './statistics-json.ts'
export type { SkillStepStatistics, StepNumbers, StepStatistics } from './step-stats.ts'
export type { StuckList, StuckTrace } from './stuck-traces.ts'
export {
  type StatsOptions,
  type Time,
  type TraceFilters,
  TraceQuery,
} from './trace-query.ts'
export type { WholeTrace } from './whole-traces.ts'
