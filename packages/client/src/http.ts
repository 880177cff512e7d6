import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ExecutionTracer } from './tracer.ts'

/** How requests become traces. */
export interface TracedListenerOptions {
  /** The skill of a request. Default: method and path, ids in it replaced: `GET /users/:id`. SHOULD take few values. */
  skill?: (request: IncomingMessage) => string
}

/**
 * A listener of `http.createServer` with each request as a trace, from its arrival until its response is done; `step()` in it
 * records there. Statuses from 500 on, and a connection that breaks before the response is complete, are failures. What the listener throws or
 * rejects with goes through unchanged.
 */
export function tracedListener<Request extends IncomingMessage, Response extends ServerResponse>(
  tracer: ExecutionTracer,
  listener: (request: Request, response: Response) => unknown,
  options: TracedListenerOptions = {},
): (request: Request, response: Response) => unknown {
  const { skill = routeOf } = options
  return (request, response) =>
    tracer.trace(skill(request), { metadata: { method: request.method, path: pathOf(request) } }, (t) => {
      const closed = once(response, 'close').then(() => {
        t.set({ status: response.statusCode })
        if (!response.writableFinished)
          t.fail(new Error('connection closed before the response was complete'))
        else if (response.statusCode >= 500) t.fail(new Error(`HTTP ${response.statusCode}`))
      })
      const result = listener(request, response)
      return Promise.all([result, closed]).then(([value]) => value)
    })
}

/** Without the query, which may hold anything. */
const pathOf = ({ url = '/' }: IncomingMessage): string => url.split(/[?#]/, 1)[0] as string

const ID = /^(?:\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|(?=[^/]*\d)[\w-]{20,})$/i

function routeOf(request: IncomingMessage): string {
  const path = pathOf(request)
    .split('/')
    .map((part) => (ID.test(part) ? ':id' : part))
    .join('/')
  return `${request.method} ${path}`
}
