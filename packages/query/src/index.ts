export type { SkillSummary } from './list-skills.ts'
export {
  type BySkillOptions,
  LIMIT_MAX,
  type ListSkillsOptions,
  type SimilarFailuresOptions,
  type TraceFilters,
  type TraceQueryOptions,
} from './options.ts'
export type { DatabaseConfig } from './pool.ts'
export type { SimilarFailure } from './similar-failures.ts'
export type { TraceList, TracePage } from './trace-list.ts'
export { TraceQuery } from './trace-query.ts'
