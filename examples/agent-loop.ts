// An AI agent: it asks a model, runs the tools that the model wants, and asks again. Any SDK fits; the model here is a script, so that
// the example needs no network. Tokens and the model are attributes, which is what costs are counted from.
import { ExecutionTracer, step } from '@stepwell/client'

interface ModelAnswer {
  text?: string
  tool?: { name: string; input: string }
  usage: { input_tokens: number; output_tokens: number }
}

const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, service: 'assistant' })

const tools: Record<string, (input: string) => Promise<string>> = {
  multiply: async (input) =>
    String(input.split('*').reduce((product, factor) => product * Number(factor), 1)),
  lookup: async (input) => {
    const capitals: Record<string, string> = { France: 'Paris' }
    const found = capitals[input]
    if (found === undefined) throw new Error(`nothing is known of '${input}'`)
    return found
  },
}

const script: ModelAnswer[] = [
  { tool: { name: 'lookup', input: 'Atlantis' }, usage: { input_tokens: 312, output_tokens: 18 } },
  { tool: { name: 'multiply', input: '6*7' }, usage: { input_tokens: 355, output_tokens: 21 } },
  {
    text: 'Atlantis is not on my map, and 6 times 7 is 42.',
    usage: { input_tokens: 401, output_tokens: 33 },
  },
]
const askModel = async (_messages: readonly string[]): Promise<ModelAnswer> => script.shift() as ModelAnswer

async function runAgent(task: string): Promise<string> {
  return tracer.trace('assistant', { executionId: 'chat-1', metadata: { task } }, async (t) => {
    const messages = [task]
    for (let turn = 1; turn <= 10; turn++) {
      const answer = await step('model', async (s) => {
        const said = await askModel(messages)
        s.set({
          model: 'script-1',
          'usage.input_tokens': said.usage.input_tokens,
          'usage.output_tokens': said.usage.output_tokens,
        })
        return said
      })
      if (answer.tool === undefined) {
        t.set({ turns: turn })
        return answer.text ?? ''
      }
      const { name, input } = answer.tool
      // A tool that fails is a failed step; the agent goes on with the message.
      const result = await step(`tool ${name}`, { attributes: { input } }, async () => {
        const tool = tools[name]
        if (tool === undefined) throw new Error(`there is no tool '${name}'`)
        return tool(input)
      }).catch((error: Error) => `error: ${error.message}`)
      messages.push(`${name}: ${result}`)
    }
    throw new Error('no answer in 10 turns')
  })
}

console.log(await runAgent('What is the capital of Atlantis, and what is 6 times 7?'))
await tracer.close()
