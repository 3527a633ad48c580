import { logs } from '@opentelemetry/api-logs'
import { ErrorsInstrumentation } from '@opentelemetry/browser-instrumentation/experimental/errors'
import { NavigationInstrumentation } from '@opentelemetry/browser-instrumentation/experimental/navigation'
import { UserActionInstrumentation } from '@opentelemetry/browser-instrumentation/experimental/user-action'
import { WebVitalsInstrumentation } from '@opentelemetry/browser-instrumentation/experimental/web-vitals'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { DocumentLoadInstrumentation } from '@opentelemetry/instrumentation-document-load'
import { FetchInstrumentation } from '@opentelemetry/instrumentation-fetch'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { BatchSpanProcessor, WebTracerProvider } from '@opentelemetry/sdk-trace-web'
import { session, shop } from './page.js'

shop(({ collector, query }) => {
  const resource = resourceFromAttributes({
    'service.name': 'otel-shop',
    'service.version': '1.4.0',
    'deployment.environment.name': 'production',
    'session.id': session('otel'),
  })
  logs.setGlobalLoggerProvider(new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${collector}/v1/logs${query}` }) })],
  }))
  new WebTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `${collector}/v1/traces${query}` }))],
  }).register()
  registerInstrumentations({
    instrumentations: [
      new DocumentLoadInstrumentation(),
      new FetchInstrumentation(),
      new ErrorsInstrumentation(),
      new NavigationInstrumentation(),
      new UserActionInstrumentation(),
      new WebVitalsInstrumentation(),
    ],
  })
})
