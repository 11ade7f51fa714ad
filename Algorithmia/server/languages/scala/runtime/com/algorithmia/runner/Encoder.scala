package com.algorithmia.runner

import java.lang.reflect.Modifier

import com.google.gson._

import scala.reflect.NameTransformer

/** Scala values as JSON: collections, options, tuples as lists, case classes as objects. */
private[runner] object Encoder {
  def write(value: Any): JsonElement = value match {
    case null | () | None => JsonNull.INSTANCE
    case element: JsonElement => element
    case Some(one) => write(one)
    case text: String => new JsonPrimitive(text)
    case character: Char => new JsonPrimitive(character.toString)
    case flag: Boolean => new JsonPrimitive(flag)
    case number: BigInt => new JsonPrimitive(number.bigInteger)
    case number: BigDecimal => new JsonPrimitive(number.bigDecimal)
    case number: Number => Values.GSON.toJsonTree(number)
    case map: scala.collection.Map[_, _] => fields(map.iterator.map { case (key, one) => key.toString -> one })
    case many: scala.collection.Iterable[_] => list(many.iterator)
    case many: Array[_] => list(many.iterator)
    case tuple: Product if tuple.getClass.getName.startsWith("scala.Tuple") => list(tuple.productIterator)
    case product: Product if product.productArity == 0 => new JsonPrimitive(product.toString)
    case product: Product => fields(names(product).zip(product.productIterator))
    case other => Values.GSON.toJsonTree(other)
  }

  private def list(values: Iterator[Any]): JsonElement = {
    val result = new JsonArray
    values.foreach(value => result.add(write(value)))
    result
  }

  private def fields(values: Iterator[(String, Any)]): JsonElement = {
    val result = new JsonObject
    values.foreach { case (name, value) => result.add(name, write(value)) }
    result
  }

  // The parameters of a case class are its first fields.
  private def names(product: Product): Iterator[String] =
    product.getClass.getDeclaredFields.iterator
      .filter(field => !Modifier.isStatic(field.getModifiers) && !field.isSynthetic && !field.getName.contains("$outer"))
      .map(field => NameTransformer.decode(field.getName))
      .take(product.productArity)
}
