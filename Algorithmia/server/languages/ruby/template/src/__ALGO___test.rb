require_relative '__ALGO__'

raise 'apply has changed its greeting' unless apply('Jane') == 'hello Jane'
puts 'ok'
