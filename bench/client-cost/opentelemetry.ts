import { context, type Span, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import {
  attributesOf,
  durationOf,
  executionIdOf,
  metadataOf,
  nameOf,
  type Recorder,
  SERVICE,
  SKILL,
  STEPS,
} from './workload.ts'

/**
 * The OpenTelemetry SDK as its documentation sets it up: batches of 512 over OTLP. Its queue of 2,048 is made larger, so that
 * it drops nothing; a span's status stays unset, which is the cheapest way to say success.
 */
export function openTelemetry(encoding: 'json' | 'protobuf', url: string): Recorder {
  const exporter = encoding === 'json' ? new JsonExporter({ url }) : new ProtobufExporter({ url })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': SERVICE }),
    spanProcessors: [new BatchSpanProcessor({ exporter, maxQueueSize: 1_000_000 })],
  })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  const tracer = provider.getTracer('bench')
  let recorded = 0

  const nested = (i: number, k: number, rich: boolean, fn: () => void): void => {
    tracer.startActiveSpan(nameOf(k), rich ? { attributes: attributesOf(i, k) } : {}, (span) => {
      fn()
      span.end()
    })
  }
  const flat = (i: number, k: number, rich: boolean, root: Span): void => {
    const endMs = Date.now()
    const startTime = endMs - durationOf(k)
    const parent = trace.setSpan(context.active(), root)
    tracer
      .startSpan(nameOf(k), rich ? { startTime, attributes: attributesOf(i, k) } : { startTime }, parent)
      .end(endMs)
  }
  return {
    run(i, { shape, rich }) {
      const attributes = { 'execution.id': executionIdOf(i), ...(rich ? metadataOf(i) : {}) }
      tracer.startActiveSpan(SKILL, { attributes }, (root) => {
        if (shape === 'flat') for (let k = 0; k < STEPS; k++) flat(i, k, rich, root)
        else {
          for (let outer = 0; outer < STEPS; outer += 5) {
            nested(i, outer, rich, () => {
              for (let k = outer + 1; k < outer + 5; k++) nested(i, k, rich, nothing)
            })
          }
        }
        root.end()
      })
      recorded += STEPS + 1
    },
    flush: () => provider.forceFlush(),
    async verify() {
      const { spans } = (await (await fetch(`${new URL(url).origin}/spans/${encoding}`)).json()) as {
        spans: number
      }
      if (spans !== recorded) throw new Error(`${recorded} spans recorded, ${spans} arrived`)
    },
  }
}

const nothing = (): void => {}
