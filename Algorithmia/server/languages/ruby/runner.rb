# What a Ruby process of an algorithm executes: loads the project, then answers one request line at a time.
#
#     ruby runner.rb ENTRY          (in the project's directory; ENTRY such as src/Hello.rb)
#
# Requests come as lines of JSON on standard input; answers go into the FIFO that ALGORITHMIA_OUTPUT_FIFO names.
require 'json'

module AlgorithmRunner
  FIFO = ENV.fetch('ALGORITHMIA_OUTPUT_FIFO', '/tmp/algoout')
  ROOT = File.join(Dir.pwd, '')
  MAX_NESTING = 1000
  MAX_MESSAGE = 100_000
  MAX_TRACE = 400_000

  class ParsingError < StandardError; end
  class UnwritableResult < TypeError; end

  class << self
    def main(entry)
      STDOUT.sync = true
      # The requests are for nobody else to read, neither the algorithm nor programs that it starts.
      requests = STDIN.dup
      STDIN.reopen(File::NULL)
      begin
        algorithm = find(entry)
      rescue Exception => error
        raise if error.is_a?(SystemExit) || error.is_a?(SignalException)
        unloadable(error)
      end
      puts 'PIPE_INIT_COMPLETE'
      while (line = requests.gets("\n"))
        answer = answer_to(line, algorithm)
        flush
        File.open(FIFO, 'wb') { |pipe| pipe.write(answer, "\n") }
      end
    end

    private

    # The algorithm as a proc: `apply` of the main program, or of a module or class named after the algorithm.
    def find(entry)
      main = TOPLEVEL_BINDING.receiver
      require File.expand_path(entry)
      holders = [main] + [File.basename(entry, '.rb'), 'Algorithm'].filter_map do |name|
        name = name[0].upcase + name[1..]
        found = Object.const_get(name) if name.match?(/\A[A-Z]\w*\z/) && Object.const_defined?(name)
        found.is_a?(Class) && !own(found, :apply) && found.method_defined?(:apply) ? found.new : found
      end
      holder = holders.find { |candidate| own(candidate, :apply) }
      raise NameError, "#{entry} defines no method apply" unless holder

      apply = holder.method(:apply)
      loader = own(holder, :load)
      return ->(input) { apply.call(input) } unless loader

      state = loader.call
      takes_state = apply.arity.abs > 1 || apply.parameters.count { |kind, _| %i[req opt].include?(kind) } > 1
      takes_state ? ->(input) { apply.call(input, state) } : ->(input) { apply.call(input) }
    end

    # The method of `holder`, if it isn't one that every object has, as `load` is.
    def own(holder, name)
      found = holder.method(name) if holder.respond_to?(name, true)
      found unless found.nil? || found.owner == Kernel || found.owner == Module
    end

    def answer_to(line, algorithm)
      JSON.generate(encode(algorithm.call(decode(line))), max_nesting: MAX_NESTING)
    rescue JSON::GeneratorError, JSON::NestingError => error
      failure(UnwritableResult.new("the result can't be written as JSON: #{error.message}"))
    rescue SystemExit, SignalException
      raise
    rescue Exception => error
      failure(error)
    end

    def decode(line)
      line.force_encoding(Encoding::UTF_8)
      raise ParsingError, 'the request is not UTF-8' unless line.valid_encoding?

      begin
        request = JSON.parse(line, max_nesting: MAX_NESTING)
      rescue JSON::ParserError => error
        raise ParsingError, "the request is not a line of JSON: #{error.message[0, 200]}"
      end
      unless request.is_a?(Hash) && request.key?('data')
        raise ParsingError, 'the request must be an object with the members content_type and data'
      end

      data = request['data']
      case request['content_type']
      when 'text', 'json' then data
      when 'binary'
        raise ParsingError, 'binary data must be a base64 string' unless data.is_a?(String)

        data.unpack1('m')
      else raise ParsingError, "unknown content_type: #{request['content_type'].inspect}"
      end
    end

    def encode(result)
      content_type = 'json'
      if result.is_a?(String)
        if result.encoding == Encoding::BINARY
          content_type = 'binary'
          result = [result].pack('m0')
        else
          content_type = 'text'
          result = text(result)
        end
      end
      { result: result, metadata: { content_type: content_type } }
    end

    def text(string)
      string = string.encode(Encoding::UTF_8)
      return string if string.valid_encoding?

      raise UnwritableResult, 'the result is not valid text: return bytes as result.b'
    rescue EncodingError => error
      raise UnwritableResult, "the result is not valid text: #{error.message}; return bytes as result.b"
    end

    def failure(error, type = nil)
      own = error.error_type if error.respond_to?(:error_type)
      type = own if own.is_a?(String) && !own.empty?
      type ||= 'ParsingError' if error.is_a?(ParsingError)
      type ||= 'OutOfMemoryError' if error.is_a?(NoMemoryError)
      type ||= error.is_a?(UnwritableResult) ? 'TypeError' : error.class.name || 'AlgorithmError'
      message = error.message.to_s
      message = error.class.name.to_s if message.empty?
      message = message[0, MAX_MESSAGE]
      JSON.generate(error: { message: clean(message), stacktrace: clean(trace(error)), error_type: clean(type) })
    rescue StandardError # an exception may fail to describe itself
      JSON.generate(error: { message: error.class.name.to_s, stacktrace: '', error_type: 'AlgorithmError' })
    end

    # The trace as its author knows it: paths below the project, nothing of this file.
    def trace(error)
      parts = []
      while error && parts.size < 10
        lines = (error.backtrace || []).reject { |line| line.start_with?(__FILE__) || line.include?('<internal:') }
        head = "#{error.class}: #{error.message}"
        parts << (["#{'Caused by: ' unless parts.empty?}#{head}"] + lines.map { |line| "    from #{line}" }).join("\n")
        error = error.cause
      end
      parts.join("\n").gsub(ROOT, '')[0, MAX_TRACE]
    end

    def clean(value)
      value = value.dup.force_encoding(Encoding::UTF_8) if value.encoding == Encoding::BINARY
      value.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end

    def flush
      $stdout.flush
      STDOUT.flush
    rescue StandardError # closed or replaced by the algorithm
      nil
    end

    def unloadable(error)
      answer = failure(error, 'LoadingError')
      warn JSON.parse(answer)['error']['stacktrace']
      begin # for whoever listens already; waits for nobody
        File.open(FIFO, File::WRONLY | File::NONBLOCK) { |pipe| pipe.write(answer, "\n") }
      rescue SystemCallError
        nil
      end
      exit!(1)
    end
  end
end

AlgorithmRunner.main(ARGV.shift)
