// What every contender records, field by field the same: runs of 10 steps, with or without attributes and metadata.

/** Steps of a run. */
export const STEPS = 10

/** What a round records. */
export interface Work {
  /** `flat`: steps whose duration is known; `nested`: functions that run as steps, two with four each. */
  shape: 'flat' | 'nested'
  /** Whether steps have attributes and the run has metadata. */
  rich: boolean
  runs: number
}

/** What a round took: CPU and time in milliseconds; bytes on the heap, if nothing was collected meanwhile. */
export type Cost = Record<'cpuMs' | 'wallMs' | 'bytes', number>

/** A way to record the work. */
export interface Recorder {
  /** Records one run. */
  run(i: number, work: Work): void
  /** Resolves when all that was recorded has arrived. */
  flush(): Promise<void>
  /** Throws if anything recorded was lost. */
  verify(): Promise<void>
}

export const SKILL = 'docker-build'
export const SERVICE = 'bench'

const NAMES = Array.from({ length: STEPS }, (_, k) => `step-${k}`)

/** Name of the k-th step. */
export const nameOf = (k: number): string => NAMES[k] as string

/** Milliseconds that the k-th step is said to have taken. */
export const durationOf = (k: number): number => k * 3.7

export const executionIdOf = (i: number): string => `exec-${process.pid}-${i}`

/** Attributes of a step: four, flat, of three types. */
export const attributesOf = (i: number, k: number): Attributes => ({
  model: 'small-2',
  'usage.input_tokens': i + k,
  'usage.output_tokens': k,
  'cache.hit': k % 2 === 0,
})

/** Metadata of a run: four texts. */
export const metadataOf = (i: number): Attributes => ({
  env: 'prod',
  region: 'eu-west-1',
  branch: 'main',
  commit: `c0ffee${i}`,
})

/** What attributes and metadata are made of: nothing that OpenTelemetry could not take. */
export type Attributes = Record<string, string | number | boolean>
