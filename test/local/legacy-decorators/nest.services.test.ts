// A real application of Nest over two real databases.
import 'reflect-metadata';
import type { Server } from 'node:http';
import { request } from 'node:http';
import {
  Body,
  Controller,
  HttpCode,
  HttpException,
  Inject,
  Injectable,
  Module,
  Param,
  Post,
  Res,
  UseInterceptors,
  type DynamicModule,
  type INestApplication,
  type INestApplicationContext,
  type Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { from, map, range, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { expressTransaction } from '../../../lib/src/local/glue/express.ts';
import { fastifyTransaction } from '../../../lib/src/local/glue/fastify.ts';
import {
  nestTransactional,
  TransactionInterceptor,
  TransactionsModule,
  transactionsToken,
} from '../../../lib/src/local/glue/nest.ts';
import type { Transactions } from '../../../lib/src/local/transactions.ts';
import { pgSubject } from '../pg-subject.ts';
import { outcomeOf, worldOf } from '../world.ts';

const orders = worldOf(pgSubject());
const audit = worldOf(pgSubject());

type Tx = Awaited<ReturnType<typeof orders.transactions>>;

const Transactional = nestTransactional(Inject);
const AUDIT = 'audit';

@Injectable()
class Trail {
  constructor(@Inject(transactionsToken(AUDIT)) readonly tx: Tx) {}

  @Transactional({ dataSource: AUDIT })
  async note(value: string, fails = false): Promise<string> {
    await audit.insert(this.tx.strictDb, value);
    if (fails) throw new Error('no trail');
    return this.tx.required().label;
  }
}

@Injectable()
class Orders {
  constructor(
    @Inject(transactionsToken()) readonly tx: Tx,
    readonly trail: Trail,
  ) {}

  @Transactional()
  async place(value: string, fails = false): Promise<string> {
    await orders.insert(this.tx.strictDb, value);
    if (fails) throw new Error('no order');
    return this.tx.required().label;
  }

  @Transactional({ propagation: 'mandatory' })
  async placeWithin(value: string): Promise<string> {
    return await this.place(value);
  }

  @Transactional()
  async placeTraced(value: string, trailFails: boolean): Promise<void> {
    await this.place(value);
    await this.trail.note(value, trailFails).catch(() => 'not so important');
  }
}

async function modules(): Promise<{ readonly tx: Tx; readonly imports: DynamicModule[] }> {
  const [tx, auditTx] = [await orders.transactions(), await audit.transactions()];
  const ofOrders = TransactionsModule.forRoot({ useFactory: () => tx });
  const ofAudit = TransactionsModule.forRoot({ name: AUDIT, useFactory: () => Promise.resolve(auditTx) });
  return { tx, imports: [ofOrders, ofAudit] };
}

function moduleOf(parts: Omit<DynamicModule, 'module'>): Type<unknown> {
  @Module(parts)
  class App {
    readonly name = 'app';
  }
  return App;
}

async function context(): Promise<{ readonly app: INestApplicationContext; readonly tx: Tx }> {
  const { tx, imports } = await modules();
  const app = await NestFactory.createApplicationContext(moduleOf({ imports, providers: [Orders, Trail] }), {
    logger: false,
    abortOnError: false,
  });
  onTestFinished(() => app.close());
  return { app, tx };
}

describe('an application context of Nest', () => {
  it('gives a service the transactions of its data source', async () => {
    const { app, tx } = await context();
    expect(app.get(transactionsToken())).toBe(tx);
    expect(app.get(Orders).tx).toBe(tx);
  });

  it('runs decorated methods of services in transactions', async () => {
    const { app } = await context();
    expect(await app.get(Orders).place('kept')).toBe('Orders.place');
    expect(await outcomeOf(app.get(Orders).place('undone', true))).toBe('no order');
    expect(await outcomeOf(app.get(Orders).placeWithin('alone'))).toBe('transaction_required');
    await orders.expectStored('kept');
  });

  it('keeps several data sources apart, by name', async () => {
    const { app } = await context();
    await app.get(Orders).placeTraced('a', false);
    await app.get(Orders).placeTraced('b', true);
    await orders.expectStored('a', 'b');
    await audit.expectStored('a');
  });

  it('gives two applications in one process transactions of their own', async () => {
    const [one, other] = [await context(), await context()];
    expect(one.app.get(Orders).tx === other.app.get(Orders).tx).toBe(false);
    await one.tx.run(async () => {
      expect(await outcomeOf(other.app.get(Orders).placeWithin('x'))).toBe('transaction_required');
      expect(await one.app.get(Orders).placeWithin('y')).toBe('Orders.place');
    });
    await orders.expectStored('y');
  });

  it('gives the factory what it asks for', async () => {
    const { tx } = await modules();
    const Source = moduleOf({ providers: [{ provide: 'source', useValue: tx }], exports: ['source'] });
    const made = TransactionsModule.forRoot({
      imports: [Source],
      inject: ['source'],
      useFactory: (source: Tx) => source,
      global: false,
    });
    const app = await NestFactory.createApplicationContext(moduleOf({ imports: [made] }), { logger: false });
    onTestFinished(() => app.close());
    expect(app.get(transactionsToken(), { strict: false })).toBe(tx);
  });

  it.each([{}, { global: false }])(
    'gives other modules the transactions without being imported by them, unless told otherwise: %j',
    async (options) => {
      const tx = await audit.transactions();
      const made = TransactionsModule.forRoot({ name: AUDIT, ...options, useFactory: () => tx });
      const feature = moduleOf({ providers: [Trail], exports: [Trail] });
      const start = NestFactory.createApplicationContext(moduleOf({ imports: [made, feature] }), {
        logger: false,
        abortOnError: false,
      });
      const outcome = start.then(async (app) => {
        onTestFinished(() => app.close());
        return await app.get(Trail).note('row');
      });
      expect(await outcomeOf(outcome)).toMatch(
        'global' in options ? /settle:transactions:audit/ : /^returns Trail.note$/,
      );
    },
  );

  it('refuses to start without the module of the data source', async () => {
    const start = NestFactory.createApplicationContext(moduleOf({ providers: [Trail] }), {
      logger: false,
      abortOnError: false,
    });
    await expect(start).rejects.toThrow('settle:transactions:audit');
  });

  it('refuses a method of an instance that Nest did not make', async () => {
    const { tx } = await modules();
    const thrown = outcomeOf(new Orders(tx, new Trail(tx)).place('x'));
    expect(await thrown).toBe('config_invalid');
  });

  it('refuses a static method: nothing is injected there', () => {
    expect(() => {
      class Wrong {
        readonly name = 'wrong';
        @Transactional()
        static async place(): Promise<void> {}
      }
      return Wrong;
    }).toThrow('config_invalid: Wrong.place is static');
  });

  it('injects once for many decorated methods, and in subclasses', async () => {
    @Injectable()
    class SpecialOrders extends Orders {
      @Transactional({ dataSource: AUDIT })
      async special(): Promise<string> {
        return await this.place('special');
      }
    }
    const { imports } = await modules();
    const app = await NestFactory.createApplicationContext(
      moduleOf({ imports, providers: [SpecialOrders, Trail] }),
      {
        logger: false,
      },
    );
    onTestFinished(() => app.close());
    expect(await app.get(SpecialOrders).special()).toBe('SpecialOrders.place');
    await orders.expectStored('special');
  });
});

interface Answer {
  status(code: number): this;
  send(body: string): void;
}

@Controller()
class OrdersController {
  constructor(
    @Inject(transactionsToken()) readonly tx: Tx,
    readonly service: Orders,
  ) {}

  @Post('place')
  async place(@Body() { value }: { readonly value: string }): Promise<object> {
    return { label: await this.service.placeWithin(value) };
  }

  @Post('throw/:status')
  async throw(@Param('status') status: string): Promise<void> {
    await this.service.placeWithin('undone');
    throw new HttpException('no', Number(status));
  }

  @HttpCode(422)
  @Post('unprocessable')
  async unprocessable(): Promise<object> {
    return { label: await this.service.placeWithin('undone') };
  }

  @Post('passthrough')
  async passthrough(@Res({ passthrough: true }) response: Answer): Promise<string> {
    response.status(409);
    return await this.service.placeWithin('undone');
  }

  @Post('commit-fails')
  async commitFails(): Promise<string> {
    this.tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
    return await this.service.placeWithin('undone');
  }

  @Post('observable')
  observable(): Observable<string> {
    return from(this.service.placeWithin('observed')).pipe(map((label) => `observed ${label}`));
  }

  @Post('endless')
  endless(): Observable<number> {
    return range(0, 20_000);
  }

  @Post('by-itself')
  async byItself(@Res() response: Answer): Promise<void> {
    await this.service.placeWithin('undone');
    response.send('mine');
  }

  @Post('waits')
  async waits(): Promise<void> {
    const ended = new Promise<string>((resolve) => this.tx.required().onCompletion(resolve));
    await this.service.placeWithin('undone');
    waiting.resolve({ ended });
    await ended;
  }
}

/** How the transaction of `waits` ends. */
let waiting = Promise.withResolvers<{ readonly ended: Promise<string> }>();

/** What the application serves HTTP with, and what stands around its requests. */
interface Platform {
  readonly name: string;
  readonly create: (app: Type<unknown>) => Promise<INestApplication>;
  readonly surround: (app: INestApplication, tx: Tx) => unknown;
}

const express: Platform = {
  name: 'Express',
  create: (app) => NestFactory.create(app, new ExpressAdapter(), { logger: false }),
  surround: (app, tx) => app.use(expressTransaction(tx)),
};

const fastify: Platform = {
  name: 'Fastify',
  create: (app) => NestFactory.create<NestFastifyApplication>(app, new FastifyAdapter(), { logger: false }),
  surround: (app, tx) => (app as NestFastifyApplication).register(fastifyTransaction(tx)),
};

const platforms = [express, fastify];

async function serve(
  platform: Platform,
  providers: DynamicModule['providers'],
  prepare: Platform['surround'] = () => {},
): Promise<{
  readonly post: (path: string, body?: object) => Promise<{ status: number; body: string }>;
  readonly url: string;
}> {
  const { tx, imports } = await modules();
  const app = await platform.create(
    moduleOf({ imports, controllers: [OrdersController], providers: [Orders, Trail, ...(providers ?? [])] }),
  );
  await prepare(app, tx);
  await app.listen(0, '127.0.0.1');
  onTestFinished(async () => {
    (app.getHttpServer() as Server).closeAllConnections();
    await app.close();
  });
  const url = await app.getUrl();
  return {
    url,
    async post(path, body = {}) {
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(`${url}/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      return { status: response.status, body: await response.text() };
    },
  };
}

const interceptor = {
  provide: APP_INTERCEPTOR,
  inject: [transactionsToken()],
  useFactory: (tx: Transactions<unknown>) => new TransactionInterceptor(tx),
};

describe.each(
  platforms.flatMap((platform) => [
    { name: `TransactionInterceptor, on ${platform.name}`, start: () => serve(platform, [interceptor]) },
    { name: `the glue of ${platform.name}`, start: () => serve(platform, [], platform.surround) },
  ]),
)('a request of Nest within $name', ({ start }) => {
  it('commits before it is answered', async () => {
    const { post } = await start();
    expect(await post('place', { value: 'row' })).toEqual({ status: 201, body: '{"label":"Orders.place"}' });
    await orders.expectStored('row');
  });

  it.each(['throw/500', 'throw/404', 'unprocessable', 'passthrough'])(
    'rolls back after an error: %s',
    async (path) => {
      const { post } = await start();
      const { status } = await post(path);
      expect(status).toBe({ 'throw/500': 500, 'throw/404': 404, unprocessable: 422, passthrough: 409 }[path]);
      await orders.expectStored();
    },
  );

  it('answers 500 when the COMMIT fails', async () => {
    const { post } = await start();
    const { status, body } = await post('commit-fails');
    expect(status).toBe(500);
    expect(body).not.toContain('Orders.place');
    await orders.expectStored();
  });

  it('waits for an observable', async () => {
    const { post } = await start();
    expect((await post('observable')).body).toBe('observed Orders.place');
    await orders.expectStored('observed');
  });

  it('rolls back when the client goes away', async () => {
    waiting = Promise.withResolvers();
    const { url } = await start();
    const client = request(`${url}/waits`, { method: 'POST' });
    client.on('error', () => {});
    client.end();
    const { ended } = await waiting.promise;
    client.destroy();
    expect(await ended).toBe('rolled-back');
    await orders.expectStored();
  });
});

describe.each(platforms)('TransactionInterceptor on $name', (platform) => {
  it('rolls back what a handler did that answered by itself', async () => {
    const { post } = await serve(platform, [interceptor]);
    expect(await post('by-itself')).toEqual({ status: 201, body: 'mine' });
    await orders.expectStored();
  });

  it('reads no more of an observable than its limit', async () => {
    const { post } = await serve(platform, [interceptor]);
    expect((await post('endless')).status).toBe(500);
  });

  it('can stand on a single controller, and be told which statuses commit', async () => {
    const tx = await orders.transactions();
    @Controller()
    @UseInterceptors(new TransactionInterceptor(tx, { commitOn: () => true }))
    class Always {
      @HttpCode(409)
      @Post()
      async place(): Promise<string> {
        await orders.insert(tx.strictDb, 'row');
        return tx.required().label;
      }
    }
    const app = await platform.create(moduleOf({ controllers: [Always] }));
    await app.listen(0, '127.0.0.1');
    onTestFinished(() => app.close());
    const response = await fetch(await app.getUrl(), { method: 'POST' });
    expect([response.status, await response.text()]).toEqual([409, 'Always.place']);
    await orders.expectStored('row');
  });
});
