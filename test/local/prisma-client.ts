// A Prisma client with two models, without Prisma's CLI: the configuration that it would generate, written by hand.
import { createRequire } from 'node:module';
import { getPrismaClient } from '@prisma/client/runtime/client';

export interface Note {
  readonly value: string;
}

interface NoteModel {
  create(args: { data: Note }): PromiseLike<Note>;
  createMany(args: { data: Note[] }): PromiseLike<{ count: number }>;
  findMany(args?: { orderBy?: { value: 'asc' } }): PromiseLike<Note[]>;
  findUnique(args: { where: { value: string } }): PromiseLike<Note | null> & {
    replies(): PromiseLike<Reply[] | null>;
  };
  update(args: {
    where: { value: string };
    data: { replies: { create: { id: string } } };
  }): PromiseLike<Note>;
  delete(args: { where: { value: string } }): PromiseLike<Note>;
}

interface Reply {
  readonly id: string;
  readonly to: string;
}

/** What the generated types say, as far as the tests go. */
export interface TestHandle {
  readonly note: NoteModel;
  $queryRaw(strings: TemplateStringsArray, ...values: unknown[]): PromiseLike<unknown>;
  $queryRawUnsafe(sql: string): PromiseLike<unknown>;
  $transaction<R extends readonly unknown[]>(promises: R): Promise<unknown[]>;
  $transaction<R>(work: (handle: TestHandle) => Promise<R>, options?: object): Promise<R>;
}

export interface TestClient extends TestHandle {
  $on(event: 'query', listener: (event: { readonly query: string }) => void): void;
  $disconnect(): Promise<void>;
  $extends(extension: object): TestClient;
}

const string = { kind: 'scalar', type: 'String' };
const relation = { kind: 'object', relationName: 'NoteToReply' };

const require = createRequire(import.meta.url);

export type PrismaProvider = 'postgresql' | 'mysql' | 'sqlite';

const configFor = (provider: PrismaProvider): unknown => ({
  previewFeatures: [],
  clientVersion: '7.10.0',
  engineVersion: '0edf323efd1d98336f3f0a68684b56f689b900d3',
  activeProvider: provider,
  inlineSchema: `
    datasource db {
      provider = "${provider}"
    }
    model Note {
      value   String  @id
      replies Reply[]
      @@map("note")
    }
    model Reply {
      id   String @id
      to   String
      note Note   @relation(fields: [to], references: [value])
      @@map("reply")
    }`,
  runtimeDataModel: {
    models: {
      Note: {
        fields: [
          { name: 'value', ...string },
          { name: 'replies', type: 'Reply', ...relation },
        ],
        dbName: 'note',
      },
      Reply: {
        fields: [
          { name: 'id', ...string },
          { name: 'to', ...string },
          { name: 'note', type: 'Note', ...relation },
        ],
        dbName: 'reply',
      },
    },
    enums: {},
    types: {},
  },
  parameterizationSchema: { strings: [], graph: 'AAAA' },
  compilerWasm: {
    getRuntime: () => Promise.resolve(require(`${compilerOf(provider)}.js`)),
    getQueryCompilerWasmModule: () => Promise.resolve(compiled(provider)),
    importName: './query_compiler_fast_bg.js',
  },
});

/** Prisma compiles queries with it. Its files have no types. */
function compilerOf(provider: PrismaProvider): string {
  return `@prisma/client/runtime/query_compiler_fast_bg.${provider}`;
}

const compilers = new Map<PrismaProvider, object>();

/** Once for all clients: it takes longer than a test. */
function compiled(provider: PrismaProvider): object {
  const known = compilers.get(provider);
  if (known !== undefined) return known;
  const { wasm } = require(`${compilerOf(provider)}.wasm-base64.js`) as { readonly wasm: string };
  const { WebAssembly } = globalThis as unknown as Wasm;
  const made = new WebAssembly.Module(Buffer.from(wasm, 'base64'));
  compilers.set(provider, made);
  return made;
}

interface Wasm {
  readonly WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };
}

type Config = Parameters<typeof getPrismaClient>[0];
type Make = new (options: object) => TestClient;

export function prismaClient(adapter: object, provider: PrismaProvider): TestClient {
  const Client = getPrismaClient(configFor(provider) as Config) as unknown as Make;
  return new Client({ adapter, log: [{ level: 'query', emit: 'event' }] });
}
